"""What mir project prints of its inputs: a line each, warnings once, the summary; the dry run."""

import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from make_it_real import distributed
from make_it_real.cli import console
from make_it_real.errors import NO_DETECTOR

if TYPE_CHECKING:
    from make_it_real.inference.gallery import Gallery
    from make_it_real.inference.planning import Plan
    from make_it_real.inference.report import Result
    from make_it_real.inference.variations import Variations

_UNLIKE = "unlike what the model knows (damaged, or of something else); results may be wrong"


class Outcomes:
    """Prints each result as it comes, and counts them."""

    def __init__(
        self, share: distributed.Share, path: Path | None, as_json: bool, steps: int
    ) -> None:
        from make_it_real.inference.report import Report, part

        self.share, self.as_json, self.steps = share, as_json, steps
        self.counts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        # Number of inputs by warning; each warning is printed once.
        self.common: Counter[str] = Counter()
        # The last input that f changed though it is unlike what the model knows.
        self.unlike: str | None = None
        # The last result that was counted.
        self.one: Result | None = None
        self.start = time.perf_counter()
        self.report = None
        if path:
            self.report = Report(part(path, share.rank))

    def __call__(self, result: "Result") -> None:
        from make_it_real.inference.report import WRITTEN, line

        self.count(result)
        if result.reason and result.status in WRITTEN:
            self.common[result.reason] += 1
        elif NO_DETECTOR in (result.reason, *result.warnings):
            self.common[NO_DETECTOR] += 1
        self.compare(result)
        for warning in result.warnings:
            if warning != NO_DETECTOR:
                console.complain(f"warning: {result.input}: {warning}")
        if result.status == "failed":
            self.reasons[result.reason] += 1
            if result.reason != NO_DETECTOR:
                console.complain(f"{result.input}: {result.reason}")
        if self.as_json or self.report:
            fields = line(result, steps=self.steps)
            if self.report:
                self.report.add(fields)
        if result.encoded is not None:
            sys.stdout.buffer.write(result.encoded)
        elif self.as_json:
            sys.stdout.write(json.dumps(fields) + "\n")
            sys.stdout.flush()
        elif result.status in WRITTEN:
            # In one write, which print does not guarantee: other processes write there too.
            sys.stdout.write(f"{result.output}\n")
        notes = [f"{result.why}, so {result.model}"] if result.why else []
        notes += result.done
        if result.status == "changed" and result.changed_share is not None:
            notes.append(f"{100 * result.changed_share:.3g} % of pixels changed")
        if notes:
            console.detail(f"{result.input}: {', '.join(notes)}")

    def count(self, result: "Result") -> None:
        """Count each input once, whatever its number of faces, and each face that failed."""
        if result.part == 1 or result.status == "failed":
            self.counts[result.status] += 1
        elif result.status == "changed" and self.one and self.one.status == "unchanged":
            self.counts.update(changed=1, unchanged=-1)
        else:
            return
        self.one = result

    def compare(self, result: "Result") -> None:
        """Count an input, once, that f changed though it is unlike what the model knows."""
        from make_it_real.inference.scoring import UNLIKE

        rank = result.percentile
        if rank is None or rank < UNLIKE or result.status != "changed":
            return
        console.detail(f"{result.input}: f would change {rank:g} % of its training images less")
        if self.unlike != result.input:
            self.common[_UNLIKE] += 1
            self.unlike = result.input

    def finish(self, total: int, interrupted: bool) -> None:
        """Print the summary of all processes, merge their reports, and exit with the right code."""
        counts, reasons, common = self.counts, self.reasons, self.common
        seconds = time.perf_counter() - self.start
        if not interrupted:
            # An interrupted process does not wait, since another may have ended.
            everyone = self.share.gathered((counts, reasons, common))
            counts, reasons, common = (sum(some, Counter()) for some in zip(*everyone, strict=True))
            if self.report and self.share.first:
                self.report.merge_parts()
        if self.report:
            self.report.close()
        distributed.leave()
        if self.share.first:
            if unlike := common.pop(_UNLIKE, 0):
                alone = self.one.input if self.one and total == 1 else ""
                subject = f"{alone} looks" if alone else f"{unlike} of {total} pictures look"
                console.say(f"{subject} {_UNLIKE}")
            for what, n in common.items():
                who = self.one.input if self.one and total == 1 else f"{n} of {total} inputs"
                console.complain(f"warning: {who}: {what}")
        if total == 1 and self.one and self.one.status == "unchanged":
            drawing = self.one.why and self.one.model == "faces" and not self.one.reason
            hint = "; f takes it for real, --noise 1 makes others of it" if drawing else ""
            console.say(f"{self.one.input}: unchanged{hint}")
        if total > 1:
            console.summary(counts, reasons, max(0, total - counts.total()), seconds)
        if interrupted:
            raise typer.Exit(console.INTERRUPTED)
        if counts["failed"]:
            raise typer.Exit(1)


def add(page: "Gallery", result: "Result") -> None:
    """Add a result that was written to a gallery; a grid of variants stands without its input."""
    before = result.before
    if before is None and result.input != "-" and len(result.noise) * len(result.seeds) < 2:
        before = Path(result.input)
    figures: dict[str, str] = {"status": result.status}
    if result.changed_share is not None:
        figures["pixels changed"] = f"{100 * result.changed_share:.3g} %"
    if result.noise:
        figures["noise"] = ", ".join(f"{level:g}" for level in result.noise)
        figures["seeds"] = ", ".join(map(str, result.seeds))
    name = result.input + f" (face {result.face})" * (result.face > 1)
    page.add(name, Path(result.output), before, score=result.drift_before, figures=figures)


def say_what(plan: "Plan", variants: "Variations", overwrite: bool, as_json: bool) -> None:
    """Print each job with its output, and exit as the real run would if all succeeded."""
    for failure in plan.failed:
        console.complain(f"{failure.input}: {failure.reason}")
    counts: Counter[str] = Counter()
    for job in plan.jobs:
        outputs = variants.outputs(job.source, job.output)
        there = [not overwrite and os.path.lexists(output) for output in outputs]
        again = job.within or not all(there)
        for output, exists in zip(outputs, there, strict=True):
            status = "planned" if not exists else "skipped" if again else "failed"
            counts[status] += 1
            if as_json:
                fields = {"input": str(job.source), "output": str(output), "status": status}
                print(json.dumps(fields))
            else:
                print(f"{job.source} -> {output}" + f" (is there: {status})" * exists)
    console.say(", ".join(f"{n} {status}" for status, n in sorted(counts.items())) or "nothing")
    if not plan.jobs:
        raise typer.Exit(console.NO_INPUT)
    if plan.failed or counts["failed"]:
        raise typer.Exit(1)
