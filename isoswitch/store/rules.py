"""What must hold between the journal of a store and its tables, as queries.

Each rule is true after every unit of work, whatever a network is in the middle of.
Where a record does not tell what a rule asks for, nothing is compared. The queries are
written in the SQL that SQLite and PostgreSQL both understand; the database sorts and
counts, so that none of them needs more memory for a larger store.

Not compared are the columns that no record and no other table tell of: what is sealed,
when something is due, the numbers and names of a transaction, and the rows of
transfers, receipts, codes, callbacks, batches and days.
"""

from __future__ import annotations

from dataclasses import dataclass

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.store.reader import IS_APPROVED


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A sentence that must hold, and the query that lists where it does not.

    The query gives the place, and beside it what differs there where that is not plain.
    """

    sentence: str
    breaches: str


APPROVALS = ", ".join(f"'{code}'" for code in ResponseCode if code.is_approval)
# What is captured as soon as it is approved, and never resized.
CAPTURED_AT_ONCE = ", ".join(
    f"'{kind}'"
    for kind in (
        Kind.PURCHASE,
        Kind.PURCHASE_WITH_CASHBACK,
        Kind.CASH_WITHDRAWAL,
        Kind.REFUND,
    )
)
# What the holds that give money back of another have given, and may still give.
GIVEN_BACK = """
    SELECT of AS id, sum(captured_minor - returned_minor) AS given,
        sum(CASE WHEN state = 'open' AND held_minor > captured_minor
            THEN held_minor - captured_minor ELSE 0 END) AS reserved
    FROM holds WHERE of <> '' GROUP BY of
"""

# A row without a fingerprint holds the key of a transaction that never came.
TRANSACTION_RULES: tuple[Rule, ...] = (
    Rule(
        sentence="a record lies under the transaction it names",
        breaches="""
            SELECT 'record ' || seq FROM journal
            WHERE transaction_id IS DISTINCT FROM record ->> 'transaction_id'
        """,
    ),
    Rule(
        sentence="a transaction in the journal has its row",
        breaches="""
            SELECT DISTINCT 'transaction ' || transaction_id FROM journal
            WHERE record ->> 'kind' IN ('opened', 'sending', 'closed', 'refused')
                AND transaction_id NOT IN (SELECT id FROM transactions)
        """,
    ),
    Rule(
        sentence="the state of a transaction is the one its records tell",
        breaches="""
            WITH told AS (
                SELECT transaction_id AS id,
                    max(CASE WHEN record ->> 'kind' IN ('closed', 'reversal_owed')
                        THEN 1 ELSE 0 END) AS closed,
                    max(CASE WHEN record ->> 'kind' = 'sending'
                        THEN 1 ELSE 0 END) AS sending,
                    max(CASE WHEN record ->> 'kind' = 'opened'
                        THEN 1 ELSE 0 END) AS opened
                FROM journal GROUP BY transaction_id
            )
            SELECT 'transaction ' || id FROM transactions LEFT JOIN told USING (id)
            WHERE fingerprint <> '' AND state IS DISTINCT FROM CASE
                WHEN closed = 1 THEN 'closed'
                WHEN sending = 1 THEN 'sending'
                WHEN opened = 1 THEN 'opened'
            END
        """,
    ),
    # What the portal opens is dated anew without a new record.
    Rule(
        sentence="a transaction is what its first record says",
        breaches="""
            WITH told AS (
                SELECT transaction_id AS id,
                    record -> 'body' ->> 'kind' AS kind,
                    record -> 'body' ->> 'terminal' AS terminal,
                    CASE WHEN record -> 'body' ->> 'listener' <> 'portal'
                        THEN record -> 'body' ->> 'business_date' END AS date,
                    CAST(record -> 'body' ->> 'amount_minor' AS TEXT) AS minor,
                    record -> 'body' ->> 'currency' AS currency
                FROM journal WHERE record ->> 'kind' IN ('opened', 'refused')
            )
            SELECT 'transaction ' || t.id, 'the journal says '
                || coalesce(told.kind, 'nothing of its kind')
                || coalesce(' of ' || minor || ' ' || told.currency, '')
                || coalesce(' at ' || terminal, '')
                || coalesce(' on ' || date, '')
            FROM transactions t JOIN told ON told.id = t.id
            WHERE told.kind <> t.kind OR terminal <> t.terminal_id
                OR date <> t.business_date
                OR minor <> CAST(t.amount_minor AS TEXT)
                OR told.currency <> t.currency
        """,
    ),
    # One that was reversed before its outcome was known has no end of its own.
    Rule(
        sentence="the outcome of a transaction has the code that its last record says",
        breaches=f"""
            WITH told AS (
                SELECT transaction_id AS id, record -> 'body' ->> 'code' AS code
                FROM journal WHERE record ->> 'kind' IN ('closed', 'refused')
            ), ended AS (
                SELECT t.id, outcome, CASE WHEN told.id IS NULL
                    THEN '{ResponseCode.ANSWER_TOO_LATE}' ELSE code END AS code
                FROM transactions t LEFT JOIN told ON told.id = t.id
                WHERE state = 'closed'
            )
            SELECT 'transaction ' || id, 'the journal says ' || code FROM ended
            WHERE substr(outcome, 1, length(code) + 10) <> '{{"code":"' || code || '"'
        """,  # noqa: S608 (names of our own codes)
    ),
    Rule(
        sentence="a transaction that is marked as reversed was undone",
        breaches="""
            SELECT 'transaction ' || id FROM transactions
            WHERE reversed AND id NOT IN (
                SELECT transaction_id FROM journal
                WHERE record ->> 'kind' IN ('reversal_owed', 'voided', 'expired')
            ) AND id NOT IN (
                SELECT id FROM transfers WHERE returned_minor > 0
            ) AND id IN (
                SELECT transaction_id FROM journal
                WHERE record ->> 'kind' IN ('opened', 'refused')
            )
        """,
    ),
    # A reversal that tells no amount is that of a leg, and an issuer's place may have
    # been taken after it.
    Rule(
        sentence="a transaction that was undone is marked as reversed",
        breaches=f"""
            SELECT 'transaction ' || id FROM transactions
            WHERE NOT reversed AND (id IN (
                SELECT transaction_id FROM journal WHERE record ->> 'kind' = 'voided'
            ) OR id IN (
                SELECT transaction_id FROM saf WHERE message = 'reversal'
                    AND amount_minor IS NOT NULL AND remaining_minor = 0
            ) OR id IN (
                SELECT transaction_id FROM journal
                WHERE record ->> 'kind' = 'reversal_owed'
            ) AND id IN (
                SELECT transaction_id FROM journal WHERE record ->> 'kind' = 'closed'
                    AND record -> 'body' ->> 'code' NOT IN ({APPROVALS})
            ))
        """,  # noqa: S608 (names of our own codes)
    ),
    Rule(
        sentence="an approval in an issuer's place is counted",
        breaches="""
            SELECT DISTINCT 'transaction ' || transaction_id FROM journal
            WHERE record ->> 'kind' = 'stood_in'
                AND transaction_id NOT IN (SELECT transaction_id FROM stand_ins)
        """,
    ),
)

SAF_RULES: tuple[Rule, ...] = (
    Rule(
        sentence="what is owed stands in store and forward, and nothing else does",
        breaches="""
            WITH counted AS (
                SELECT transaction_id, 'reversal' AS message,
                    record -> 'body' ->> 'endpoint' AS endpoint, 1 AS owed, 0 AS kept
                FROM journal WHERE record ->> 'kind' = 'reversal_owed'
                UNION ALL
                SELECT transaction_id, 'advice',
                    record -> 'body' ->> 'endpoint', 1, 0
                FROM journal WHERE record ->> 'kind' IN ('advice_owed', 'stood_in')
                UNION ALL
                SELECT transaction_id, message, endpoint, 0, 1 FROM saf
            )
            SELECT 'transaction ' || transaction_id, sum(owed) || ' ' || message
                || ' to ' || coalesce(endpoint, 'nobody') || ' by the journal, '
                || sum(kept) || ' stored'
            FROM counted GROUP BY transaction_id, message, endpoint
            HAVING sum(owed) <> sum(kept)
        """,
    ),
    # Two nodes may set the same entry aside, and one may deliver what the other has set
    # aside. An order to retry may come too late to change anything. A question about a
    # transfer is none of this.
    Rule(
        sentence="store and forward has delivered and set aside what its records say",
        breaches="""
            WITH steps AS (
                SELECT transaction_id, seq, record ->> 'kind' AS kind,
                    record -> 'body' ->> 'endpoint' AS endpoint
                FROM journal WHERE record -> 'body' ->> 'uetr' IS NULL AND (
                    record ->> 'kind' IN ('forwarded', 'delivered', 'quarantined')
                    OR record -> 'body' ->> 'order' = 'saf retry'
                )
            ), told AS (
                SELECT transaction_id, endpoint, max(seq) AS newest,
                    sum(CASE WHEN kind = 'delivered' THEN 1 ELSE 0 END) AS delivered,
                    sum(CASE WHEN kind = 'quarantined' THEN 1 ELSE 0 END) AS aside,
                    max(CASE WHEN kind = 'quarantined' THEN seq END) AS last_aside,
                    max(CASE WHEN kind = 'forwarded' THEN seq END) AS last_sent
                FROM steps GROUP BY transaction_id, endpoint
            ), kept AS (
                SELECT transaction_id, endpoint, count(*) AS entries, min(id) AS id,
                    sum(CASE WHEN state = 'delivered' THEN 1 ELSE 0 END) AS delivered,
                    sum(CASE WHEN state = 'quarantined' THEN 1 ELSE 0 END) AS aside,
                    sum(CASE WHEN state = 'pending' THEN 1 ELSE 0 END) AS pending
                FROM saf GROUP BY transaction_id, endpoint
            ), both_sides AS (
                SELECT kept.*, newest, last_aside, last_sent,
                    coalesce(told.delivered, 0) AS told_delivered,
                    coalesce(told.aside, 0) AS told_aside
                FROM kept LEFT JOIN told ON told.transaction_id = kept.transaction_id
                    AND told.endpoint = kept.endpoint
            )
            SELECT 'entry ' || id, 'of ' || entries || ' for transaction '
                || transaction_id || ' to ' || endpoint || ', ' || told_delivered
                || ' delivered by the journal, ' || delivered || ' stored, '
                || told_aside || ' set aside by the journal, ' || aside || ' stored'
            FROM both_sides
            WHERE delivered <> told_delivered OR aside > told_aside
                OR delivered + aside + pending <> entries
                OR aside = 0 AND newest = last_aside
                OR aside > 0 AND newest = last_sent AND entries = 1
        """,
    ),
)

LEDGER_RULES: tuple[Rule, ...] = (
    Rule(
        sentence="the postings of an entry sum to zero",
        breaches="""
            SELECT 'ledger entry ' || entry_id, sum(minor) || ' ' || currency
            FROM postings GROUP BY entry_id, currency HAVING sum(minor) <> 0
        """,
    ),
    Rule(
        sentence="a hold has captured what its entries say, and its state with it",
        breaches="""
            WITH taken AS (
                SELECT transaction_id AS id, currency, minor
                FROM postings WHERE entry_id LIKE '%/capture' AND minor > 0
                UNION ALL
                SELECT original_id, p.currency, minor
                FROM postings p JOIN transactions t ON t.id = p.transaction_id
                WHERE entry_id LIKE '%/capture' AND minor > 0 AND kind = 'completion'
            ), entries AS (
                SELECT id, currency, sum(minor) AS minor FROM taken
                GROUP BY id, currency
            )
            SELECT 'hold ' || h.id, 'it says ' || captured_minor
                || ', the entries ' || coalesce(minor, 0)
            FROM holds h LEFT JOIN entries e
                ON e.id = h.id AND e.currency = h.currency
            WHERE captured_minor <> coalesce(minor, 0)
                OR state = 'captured' AND captured_minor = 0
                OR state IN ('released', 'expired') AND captured_minor <> 0
        """,
    ),
    # A completion's part is a hold of its own.
    Rule(
        sentence="what was captured of a hold for others lies in their holds",
        breaches="""
            WITH parts AS (
                SELECT original_id AS id, sum(captured_minor) AS minor
                FROM holds h JOIN transactions t ON t.id = h.id
                WHERE kind = 'completion' GROUP BY original_id
            )
            SELECT 'hold ' || h.id, 'it says ' || parted_minor || ', their holds '
                || coalesce(minor, 0)
            FROM holds h LEFT JOIN parts ON parts.id = h.id
            WHERE parted_minor <> coalesce(minor, 0)
        """,
    ),
    Rule(
        sentence="a hold reserves and has returned what those of it give back",
        breaches=f"""
            SELECT 'hold ' || id, 'it says ' || returning_minor || ' reserved and '
                || returned_minor || ' returned, the holds of it '
                || coalesce(reserved, 0) || ' and ' || coalesce(given, 0)
            FROM holds LEFT JOIN ({GIVEN_BACK}) AS back USING (id)
            WHERE returning_minor <> coalesce(reserved, 0)
                OR returned_minor < coalesce(given, 0)
        """,  # noqa: S608 (our own words)
    ),
    Rule(
        sentence="an account has what the holds on it have moved",
        breaches=f"""
            WITH net AS (
                SELECT debit, credit, currency,
                    captured_minor - parted_minor - returned_minor
                        + coalesce(given, 0) AS minor
                FROM holds LEFT JOIN ({GIVEN_BACK}) AS back USING (id)
            ), moved AS (
                SELECT debit AS account, currency, minor FROM net
                UNION ALL SELECT credit, currency, -minor FROM net
                UNION ALL SELECT account, currency, -minor FROM postings
            )
            SELECT 'account ' || account,
                'the holds say ' || sum(minor) || ' more, in ' || currency
            FROM moved GROUP BY account, currency HAVING sum(minor) <> 0
        """,  # noqa: S608 (our own words)
    ),
    Rule(
        sentence="a hold is of the amount of its transaction",
        breaches=f"""
            SELECT 'hold ' || h.id, 'it holds ' || held_minor || ' ' || h.currency
                || ', its transaction is of ' || t.amount_minor || ' ' || t.currency
            FROM holds h JOIN transactions t ON t.id = h.id
            WHERE kind IN ({CAPTURED_AT_ONCE})
                AND (held_minor <> t.amount_minor OR h.currency <> t.currency)
        """,  # noqa: S608 (names of our own kinds)
    ),
    # A transfer's money may stand somewhere else until it is recalled.
    Rule(
        sentence="a hold is captured if its transaction is approved, or else released",
        breaches=f"""
            SELECT 'hold ' || h.id, 'it is ' || h.state
            FROM holds h JOIN transactions t ON t.id = h.id
            WHERE kind IN ({CAPTURED_AT_ONCE}) AND t.state = 'closed'
                AND t.id NOT IN (SELECT id FROM transfers)
                AND h.state <> CASE WHEN {IS_APPROVED}
                    THEN 'captured' ELSE 'released' END
        """,  # noqa: S608 (names of our own kinds)
    ),
)

RULES = TRANSACTION_RULES + SAF_RULES + LEDGER_RULES
