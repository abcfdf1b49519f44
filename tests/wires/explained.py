"""Differences, held against a table of those that a person has looked at: reason -> rows, a line each."""

from collections import Counter


def exit_code(found: dict[str, str], table: dict[str, str]) -> int:
    """Says how many rows each reason explains, what no row does, and which rows no longer differ: 1 on either.

    `found`: difference, as the table writes it -> what was seen of it, nothing where its name says all.
    """
    reasons = {row.strip(): why for why, rows in table.items() for row in rows.strip().splitlines()}
    for why, count in Counter(reasons[row] for row in found if row in reasons).most_common():
        print(f"  {count:6} explained: {why}")
    unexplained, stale = sorted(found.keys() - reasons.keys()), sorted(reasons.keys() - found.keys())
    for row in unexplained:
        print(f"not explained: {row}{found[row] and ': '}{found[row]}")
    for row in stale:
        print(f"no longer differs: {row}")
    return 1 if unexplained or stale else 0
