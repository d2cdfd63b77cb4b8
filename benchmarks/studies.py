"""The pages of docs/studies, made from the results that are committed beside them.

    python benchmarks/studies.py                           # make all pages anew
    python benchmarks/studies.py --add DIR [DIR ...]       # take finished studies' results first
    python benchmarks/studies.py --again DIR [DIR ...]     # the same, of studies with other seeds

DIR is the output of `mobilenetv2 study NAME --output DIR`. No number of a page is typed by hand;
`tests/studies/harness/test_page.py` holds the pages against the CSV files.
"""

import argparse
from pathlib import Path

from mobilenetv2.documents import read_table
from mobilenetv2.errors import StudyError
from mobilenetv2.files import write_atomically
from mobilenetv2.studies.harness import catalogue
from mobilenetv2.studies.harness.page import made_pages, take_results
from mobilenetv2.studies.harness.results import RECORD

DOCS = Path(__file__).resolve().parents[1] / "docs" / "studies"


def add(output: Path, again: bool) -> None:
    study = catalogue.load(str(read_table(output / RECORD, StudyError).get("study")))
    print(f"took {output} to {take_results(output, DOCS, study, again)}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the pages of docs/studies.")
    parser.add_argument("--add", type=Path, nargs="+", default=[], metavar="DIR")
    parser.add_argument("--again", type=Path, nargs="+", default=[], metavar="DIR")
    options = parser.parse_args()
    for output in options.add:
        add(output, again=False)
    for output in options.again:
        add(output, again=True)
    for path, text in made_pages(DOCS, catalogue.load_all()).items():
        DOCS.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
