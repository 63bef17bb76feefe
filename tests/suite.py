# SPDX-License-Identifier: Apache-2.0
"""Runs the unittest modules of a folder: suite.py FOLDER REPORT [WORD...].

A line per test, named as the sentence it is; then what went wrong. With words, only tests whose
name holds one of them. REPORT gets one line: passed, failed, skipped.
"""

import pathlib
import sys
import time
import unittest


def name_of(test):
    name = getattr(test, "_testMethodName", str(test))
    return "%s: %s" % (type(test).__module__.removeprefix("test_"), name.removeprefix("test_"))


class Report(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.passed = 0
        self.begun = 0.0

    def startTest(self, test):
        super().startTest(test)
        self.begun = time.monotonic()

    def say(self, test, outcome, more=""):
        took = time.monotonic() - self.begun if self.begun else 0
        print("%-7s %s (%.1f s)%s" % (outcome, name_of(test), took, more), flush=True)

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1
        self.say(test, "ok")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.say(test, "SKIPPED", ": " + reason)

    def addError(self, test, err):
        super().addError(test, err)
        self.say(test, "ERROR", "\n" + self.errors[-1][1])

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.say(test, "FAILED", "\n" + self.failures[-1][1])

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err:
            print("FAILED  %s %s" % (name_of(test), subtest._subDescription()), flush=True)
            print(self._exc_info_to_string(err, subtest), flush=True)


def flatten(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from flatten(test)
        else:
            yield test


def main():
    folder, report, words = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2], sys.argv[3:]
    sys.path.insert(0, str(pathlib.Path(__file__).parent.resolve() / "integration"))
    sys.path.insert(0, str(folder))
    loader = unittest.TestLoader()
    found = unittest.TestSuite(loader.loadTestsFromName(file.stem)
                               for file in sorted(folder.glob("test_*.py")))
    chosen = [test for test in flatten(found)
              if not words or any(word in name_of(test) for word in words)]
    result = Report()
    unittest.TestSuite(chosen).run(result)
    failed = len({id(getattr(test, "test_case", test))
                  for test, _ in result.errors + result.failures})
    with open(report, "w") as out:
        out.write("%d %d %d\n" % (result.passed, failed, len(result.skipped)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
