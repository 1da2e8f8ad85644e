"""Command line of the supply chain, see :mod:`studies.supply`."""

from __future__ import annotations

import argparse
from pathlib import Path


def main() -> int:
    """Run one of the three commands."""
    parser = argparse.ArgumentParser(prog='python -m studies.supply', description=__doc__)
    commands = parser.add_subparsers(dest='command', required=True)
    commands.add_parser('licences', help='write the tables of docs/licences.md')
    commands.add_parser('audit', help='ask for known weaknesses of the tested versions')
    bill = commands.add_parser('sbom', help='write a software bill of materials')
    bill.add_argument('file', nargs='?', default='sbom.cdx.json', help='default: sbom.cdx.json')
    args = parser.parse_args()
    if args.command == 'licences':
        from studies.supply.licences import write_page

        write_page()
        return 0
    if args.command == 'sbom':
        from studies.supply.sbom import write

        print(f'{args.file}: {write(Path(args.file))} components')
        return 0
    from studies.supply.audit import ask, told

    lines, code = told(*ask())
    print('\n'.join(lines))
    return code


if __name__ == '__main__':
    raise SystemExit(main())
