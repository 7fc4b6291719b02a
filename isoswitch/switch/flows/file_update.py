"""A terminal asks to change a record of a file (0300): cards, limits, parameters.

The switch keeps no such files. Which ones an operator keeps for it stands in the
configuration; a request about one of these is acknowledged and left to the operator,
any other is declined.
"""

from __future__ import annotations

from isoswitch.codecs.canonical.codes import ResponseCode
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.switch.job import Job
from isoswitch.switch.services import Services

NOT_SERVED = Outcome.declined(
    ResponseCode.INVALID_TRANSACTION, "files are not kept here"
)
NOTED = Outcome(code=ResponseCode.APPROVED, reason="a file is to be changed by hand")


async def update_file(services: Services, job: Job) -> Outcome:
    """Take note of a request about a file, or decline it."""
    if job.txn.file_name in services.settings.kinds.noted_files:
        return await services.recorder.leave_to_operator(job, NOTED)
    return await services.recorder.refuse(job, NOT_SERVED)
