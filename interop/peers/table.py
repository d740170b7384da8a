"""The table of cases and peers: table.py RESULTS

RESULTS has lines `COLUMN<TAB>PASS case`, `COLUMN<TAB>SKIP case: why` and `COLUMN<TAB>FAIL case: why`. Prints the table and the reasons; fails
where a case failed, or has neither run nor a reason.
"""

import sys


def read(path):
    """Cells by column and case: the word and the reason."""
    columns = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            column, _, rest = line.rstrip("\n").partition("\t")
            word, _, rest = rest.partition(" ")
            if word not in ("PASS", "SKIP", "FAIL"):
                continue
            case, _, why = rest.partition(": ")
            columns.setdefault(column, {})[case] = (word, why)
    return columns


def main():
    columns = read(sys.argv[1])
    cases = list(next(iter(columns.values())))
    # What our own client cannot do with our own server, nobody can here.
    absent = {case for case in cases if next(iter(columns.values()))[case][0] == "SKIP"}
    reasons, bad = {}, []
    width = max(map(len, cases))
    for place, column in enumerate(columns):
        print(f"{'':{width}} {'| ' * place}{column}")
    counts = {"ok": 0, "-": 0}
    for case in [case for case in cases if case not in absent]:
        row = []
        for column, cells in columns.items():
            word, why = cells.get(case, ("NONE", "it did not run"))
            if word == "PASS":
                row.append("+")
                counts["ok"] += 1
            elif word == "SKIP" and why:
                row.append(str(reasons.setdefault(why, len(reasons) + 1)))
                counts["-"] += 1
            else:
                row.append("!")
                bad.append(f"FAILED {column}, {case}: {why}")
        print(f"{case:{width}} {' '.join(row)}")
    print("\n+ passed; not run:")
    for why, number in reasons.items():
        print(f"{number} {why}")
    for case in [case for case in cases if case in absent]:
        print(f"{case}, nowhere: {columns[next(iter(columns))][case][1]}")
    unknown = {case for cells in columns.values() for case in cells} - set(cases)
    bad += [f"FAILED {case} is no case" for case in sorted(unknown)]
    print("\n".join(bad))
    print(f"{len(columns)} columns: {counts['ok']} passed, {len(bad)} failed, {counts['-']} not run for a reason")
    return 1 if bad else 0


sys.exit(main())
