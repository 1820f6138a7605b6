/* Quantiles are within a bucket's width of the exact ones. */
#include "check.h"
#include "histogram.h"

#include <math.h>

static struct histogram histogram, other;

static void empty_has_no_quantiles(void)
{
    histogram_clear(&histogram);
    CHECK_EQ(histogram_quantile(&histogram, 0.5), 0);
}

static void quantiles_of_a_ramp(uint64_t step)
{
    histogram_clear(&histogram);
    for (uint64_t i = 1; i <= 100000; i++)
        histogram_add(&histogram, i * step);
    CHECK_EQ(histogram.total, 100000);
    CHECK_EQ(histogram.max, 100000 * step);
    for (double q = 0.01; q < 1; q += 0.01) {
        double exact = q * 100000 * (double)step;
        CHECK(fabs((double)histogram_quantile(&histogram, q) - exact) <=
              0.016 * exact + (double)step);
    }
    CHECK(histogram_quantile(&histogram, 1) <= histogram.max);
    CHECK(histogram_quantile(&histogram, 1) >= histogram.max - histogram.max / 60);
}

static void small_values_are_exact(void)
{
    histogram_clear(&histogram);
    for (uint64_t ns = 0; ns < 64; ns++)
        histogram_add(&histogram, ns);
    CHECK_EQ(histogram_quantile(&histogram, 0.5), 31);
    CHECK_EQ(histogram_quantile(&histogram, 1), 63);
}

static void values_beyond_the_range_are_kept(void)
{
    histogram_clear(&histogram);
    histogram_add(&histogram, UINT64_MAX / 2);
    CHECK_EQ(histogram.buckets[HISTOGRAM_BUCKETS - 1], 1);
    histogram_add(&histogram, (1ull << 47) - 1);
    CHECK_EQ(histogram.total, 2);
}

static void merging_adds(void)
{
    histogram_clear(&histogram);
    histogram_clear(&other);
    histogram_add(&histogram, 10);
    histogram_add(&other, 1000);
    histogram_add(&other, 30);
    histogram_merge(&histogram, &other);
    CHECK_EQ(histogram.total, 3);
    CHECK_EQ(histogram.sum, 1040);
    CHECK_EQ(histogram.max, 1000);
    CHECK_EQ(histogram_quantile(&histogram, 0.5), 30);
}

int main(void)
{
    empty_has_no_quantiles();
    quantiles_of_a_ramp(1);
    quantiles_of_a_ramp(997);
    quantiles_of_a_ramp(1000003);
    small_values_are_exact();
    values_beyond_the_range_are_kept();
    merging_adds();
    return 0;
}
