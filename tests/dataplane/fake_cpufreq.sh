# fake_cpufreq.sh FOLDER COMMAND...: runs a command where every CPU has a cpufreq driver made of
# files; FOLDER/speed is what was last asked of all of them. Call it in a mount namespace.
set -e
folder=$1
shift
real=/sys/devices/system/cpu
mkdir "$folder/cpu"
for file in online possible present; do
    cat "$real/$file" >"$folder/cpu/$file"
done
echo 2100000 >"$folder/speed"
for source in "$real"/cpu[0-9]*; do
    cpu=$folder/cpu/${source##*/}
    mkdir -p "$cpu/cpufreq" "$cpu/topology" "$cpu/node0"
    cat "$source/topology/core_id" >"$cpu/topology/core_id"
    echo acpi-cpufreq >"$cpu/cpufreq/scaling_driver"
    echo ondemand >"$cpu/cpufreq/scaling_governor"
    echo "2100000 1600000 800000" >"$cpu/cpufreq/scaling_available_frequencies"
    echo 2100000 >"$cpu/cpufreq/scaling_max_freq"
    echo 800000 >"$cpu/cpufreq/scaling_min_freq"
    ln -s "$folder/speed" "$cpu/cpufreq/scaling_setspeed"
done
mount --bind "$folder/cpu" /sys/devices/system/cpu
exec "$@"
