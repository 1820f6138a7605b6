"""Public series: where each comes from, and how its file becomes a series. Facts, no data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal

from flexnfv.suite import parsers
from flexnfv.traces.trace import FloatArray

Parser = Callable[[Path], FloatArray]
Checked = Literal["file", "excerpt", "description", "none"]
"""How far a parser was held against its source: the whole file rebuilt from the series, its length
and text alike; rows and heading of the file as published; what others say of its form; no parser.
The series that it makes is checked in any case."""


@dataclass(frozen=True)
class Source:
    """A public series.

    Attributes:
        title: what it is.
        repository, path, commit: where a user downloads it (GitHub); a path that ends in "/" is a
            folder.
        licence: of the repository or the data.
        step_s: seconds of a sample.
        file: name of the imported series in the user's folder.
        parse: makes the series of the downloaded file; None: import it as a CSV `t_s,pps`.
        checked: see `Checked`.
        sha256: of the file that the user downloads, where we know it.
        keep_whole: whole rates keep all of their digits; the others of a series have six.
    """

    title: str
    repository: str
    path: str
    commit: str
    licence: str
    step_s: float
    file: str
    parse: Parser | None
    checked: Checked
    sha256: str | None = None
    keep_whole: bool = False


_MICROSOFT = "microsoft/cloud-monitoring-dataset"
_DAY = 1440  # minutes

SOURCES: Final[dict[str, Source]] = {
    "eu_isp": Source(
        "transatlantic link of an ISP in 11 European cities, 2005",
        "dumfug/mmis2",
        "datasets/internet-traffic-data.csv",
        "c54fd606f3",
        "MIT",
        300.0,
        "eu_isp_300s.csv",
        partial(parsers.column, place=1, step_s=300),
        "excerpt",
        keep_whole=True,
    ),
    "wc98": Source(
        "World Cup 98 web requests, 7 days from 10 June",
        "nimamahmoudi/worldcup98-dataset",
        "invocation_count.csv",
        "739faad58f",
        "MIT",
        60.0,
        "wc98_60s_group.csv",
        partial(parsers.from_time, start="1998-06-10 22:00:00", count=7 * _DAY, step_s=60),
        "excerpt",
    ),
    "azure_llm_conv": Source(
        "chat requests to a language model, 58 minutes of 2023",
        "Azure/AzurePublicDataset",
        "data/AzureLLMInferenceTrace_conv.csv",
        "790921015d",
        "CC-BY-4.0",
        1.0,
        "azure_llm_conv_1s.csv",
        partial(parsers.arrivals, step_s=1.0),
        "excerpt",
    ),
    "bellcore": Source(
        "Bellcore Ethernet LAN, 40 s",
        "cran/longmemo",
        "data/ethernetTraffic.R",
        "6e8a929570",
        "GPL-2.0-or-later",
        0.01,
        "bellcore_10ms.csv",
        partial(parsers.r_vector, factor=8 * 100),  # bytes in 10 ms
        "file",
        "3869f4dd6388d986882d3d67a41f3b60878155f2c98bf05ef2e085470c4c2497",
    ),
    "msft_db": Source(
        "queries of a production MongoDB cluster, 7 days of 2018",
        _MICROSOFT,
        "data/mongodb-application-rps/mongo-01.csv",
        "6a07a53c2f",
        "MIT",
        60.0,
        "msft_db_60s.csv",
        partial(parsers.column, place=1, last=7 * _DAY),
        "excerpt",
    ),
    "msft_node": Source(
        "queries of one production MongoDB server, days 8 to 14",
        _MICROSOFT,
        "data/mongodb-machine-rps/machine-01.csv",
        "6a07a53c2f",
        "MIT",
        60.0,
        "msft_node_60s.csv",
        partial(parsers.column, place=1, first=7 * _DAY, last=14 * _DAY),
        "excerpt",
    ),
    "msft_launch": Source(
        "data ingress of a cloud service that goes live, 2018",
        _MICROSOFT,
        "data/data-ingress-rate/ingress-02.csv",
        "6a07a53c2f",
        "MIT",
        60.0,
        "msft_launch_60s.csv",
        partial(parsers.column, place=1, first=8760, last=11 * _DAY),
        "excerpt",
    ),
    "msft_shop": Source(
        "incoming API requests of a shop, hourly, 258 days from 2017-11-01",
        _MICROSOFT,
        "data/ecommerce-api-incoming-rps/api-01.csv",
        "6a07a53c2f",
        "MIT",
        3600.0,
        "msft_shop_3600s.csv",
        partial(parsers.on_grid, step_s=3600, divide_by=1.0),
        "excerpt",
    ),
    "tweets_aapl": Source(
        "tweets that mention Apple, 35 days of 2015",
        "numenta/NAB",
        "data/realTweets/Twitter_volume_AAPL.csv",
        "ea702d75cc",
        "MIT",
        300.0,
        "tweets_aapl_300s.csv",
        partial(parsers.column, place=1, last=35 * _DAY // 5, step_s=300),
        "excerpt",
    ),
    "aws_elb": Source(
        "requests at an AWS load balancer, 14 days of 2014",
        "numenta/NAB",
        "data/realAWSCloudwatch/elb_request_count_8c0756.csv",
        "ea702d75cc",
        "MIT",
        300.0,
        "aws_elb_300s.csv",
        partial(parsers.on_grid, step_s=300, divide_by=300),
        "excerpt",
    ),
    "abilene": Source(
        "backbone demand Los Angeles to Chicago, 14 days of 2004",
        "tfenz/TE_SR_WAN_simulation",
        "data/demands/sndlib/directed-abilene-zhang-5min-over-6months-ALL/",
        "cdf8f7d056",
        "MIT; matrices of SNDlib",
        300.0,
        "abilene_300s.csv",
        partial(
            parsers.sndlib,
            demand="LOSAng_CHINng",
            pattern="demandMatrix-abilene-zhang-5min-200403*.xml",
            count=14 * _DAY // 5,
        ),
        "excerpt",
    ),
    "bgp_slammer": Source(
        "BGP announcements at a RIPE collector around the Slammer worm, 2003",
        "zhida-li/CyberDefense",
        "src/data_historical/Slammer.csv",
        "7c98d95682",
        "MIT",
        60.0,
        "bgp_slammer_60s.csv",
        partial(parsers.column, place=4, step_s=60),
        "description",
    ),
    "vm_requests": Source(
        "VM creation requests of Azure, first 20 days",
        "huaweicloud/trace_generation_rnn",
        "resources/traces/v1.train.txt",
        "fa856db037",
        "MIT; data CC-BY-4.0",
        300.0,
        "vm_requests_300s.csv",
        partial(parsers.flavours, step_s=300),
        "excerpt",
    ),
    "starlink": Source(
        "what a saturated Starlink link delivered, 100 s",
        "SpaceNetLab/LeoCC",
        "leoreplayer/replayer/example/Cubic/bw_example.txt",
        "867e673990",
        "MIT",
        0.01,
        "starlink_10ms.csv",
        partial(parsers.mahimahi, step_s=0.01, seconds=100),
        "description",
    ),
    "xr_uplink": Source(
        "uplink of an XR headset that offloads video frames, 100 s",
        "nokia/5g-network-emulator",
        "data/XR_traffic/480_offloading_real.txt",
        "889bfb4b61",
        "BSD-3-Clause-Clear",
        0.01,
        "xr_uplink_10ms.csv",
        partial(parsers.packet_sizes, step_s=0.01, seconds=100),
        "excerpt",
    ),
    "dec_udp": Source(
        "UDP packets at DEC's Internet access, 100 s of 1995",
        "kpctoolboxteam/kpc-toolbox",
        "demo/DEC-PKT-1-UDP.mat",
        "d73c3c52f7",
        "BSD-3-Clause",
        0.01,
        "dec_udp_10ms.csv",
        None,
        "none",
    ),
    "industrial": Source(
        "packets at one device of an industrial network with incidents, 91 min",
        "westermo/network-traffic-dataset",
        "data/extended/pcaps/right.zip",
        "ba85578e19",
        "CC-BY-4.0",
        1.0,
        "industrial_1s.csv",
        None,
        "none",
    ),
}
"""Every public series of the suite by its name."""
