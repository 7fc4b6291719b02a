"""The ports through which flows act on the world, in one frozen object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from isoswitch.hsm.port import Hsm
from isoswitch.routing.table import RoutingTable
from isoswitch.store.port import Store
from isoswitch.switch.admission import Buckets
from isoswitch.switch.breakers import Breakers
from isoswitch.switch.businessday import BusinessDays
from isoswitch.switch.codewatch import CodeWatch
from isoswitch.switch.counts import Counts
from isoswitch.switch.health import Health
from isoswitch.switch.job import Jobs
from isoswitch.switch.leases import Leases
from isoswitch.switch.links import Link
from isoswitch.switch.numbers import Numbers
from isoswitch.switch.ports import Clock
from isoswitch.switch.recorder import Recorder
from isoswitch.switch.settings import SwitchSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What a flow may use."""

    settings: SwitchSettings
    clock: Clock
    numbers: Numbers
    hsm: Hsm
    store: Store
    recorder: Recorder
    routing: RoutingTable
    links: Mapping[str, Link]
    breakers: Breakers
    jobs: Jobs
    days: BusinessDays
    buckets: Buckets
    health: Health
    counts: Counts
    leases: Leases
    code_watch: CodeWatch
