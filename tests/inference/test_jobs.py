"""What is planned from paths: which files, and the names of their results."""

import os
from pathlib import Path

import pytest

from make_it_real.inference.jobs import STDIN, Job
from make_it_real.inference.naming import Format
from make_it_real.inference.planning import Plan, plan
from make_it_real.inference.report import Result


def touch(folder: Path, *names: str) -> None:
    """Make files of no content; planning never looks inside."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def pairs(planned: Plan, folder: Path) -> list[tuple[str, str]]:
    """Sources and outputs below a folder, as text."""
    return [
        (os.path.relpath(job.source, folder), os.path.relpath(job.output, folder))
        for job in planned.jobs
    ]


def everything_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# Planning: names


def test_a_file_is_projected_beside_itself(here: Path) -> None:
    touch(here, "a/sketch.jpg", "b.tar.PNG")
    planned = plan(["a/sketch.jpg", "b.tar.PNG"])
    assert pairs(planned, here) == [
        ("a/sketch.jpg", "a/sketch_real.png"),
        ("b.tar.PNG", "b.tar_real.png"),
    ]
    assert not any(job.within for job in planned.jobs)
    assert planned.failed == ()


def test_a_name_that_is_there_gets_the_next_free_number(here: Path) -> None:
    touch(here, "x.png", "x_real.png", "x_real_2.png")
    assert pairs(plan(["x.png"]), here) == [("x.png", "x_real_3.png")]
    assert pairs(plan(["x.png"], overwrite=True), here) == [("x.png", "x_real.png")]


@pytest.mark.parametrize("overwrite", [False, True])
def test_two_files_of_one_name_get_two_outputs(here: Path, overwrite: bool) -> None:
    touch(here, "x.png", "x.jpg", "sub/x.gif")
    beside = plan(["x.png", "x.jpg"], overwrite=overwrite)
    assert pairs(beside, here) == [("x.png", "x_real.png"), ("x.jpg", "x_real_2.png")]
    into = plan(["x.png", "sub/x.gif"], Path("out"), overwrite=overwrite)
    assert pairs(into, here) == [("x.png", "out/x.png"), ("sub/x.gif", "out/x_2.png")]


def test_an_output_with_an_images_suffix_is_a_file(here: Path) -> None:
    touch(here, "x.png")
    for name in ("y.png", "y.JPG", "sub/y.webp", "y.jpeg"):
        assert pairs(plan(["x.png"], Path(name)), here) == [("x.png", name)]


def test_any_other_output_is_a_folder(here: Path) -> None:
    touch(here, "x.jpg")
    assert pairs(plan(["x.jpg"], Path("out")), here) == [("x.jpg", "out/x.png")]
    touch(here, "out/x.png")
    assert pairs(plan(["x.jpg"], Path("out")), here) == [("x.jpg", "out/x_2.png")]


def test_an_input_is_never_the_output(here: Path) -> None:
    touch(here, "x.png")
    assert pairs(plan(["x.png"], Path()), here) == [("x.png", "x_2.png")]


def test_stdin_is_named_so(here: Path) -> None:
    assert tuple(plan(["-"], stdin=b"data").jobs) == (
        Job(STDIN, Path("stdin_real.png"), data=b"data"),
    )
    into = plan(["-"], Path("out"), stdin=b"data")
    assert tuple(into.jobs) == (Job(STDIN, Path("out/stdin.png"), data=b"data"),)
    named = plan(["-"], Path("x.webp"), stdin=b"data")
    assert tuple(named.jobs) == (Job(STDIN, Path("x.webp"), data=b"data"),)


# Planning: folders


def test_a_folder_is_projected_beside_itself(here: Path) -> None:
    touch(here, "photos/b.png", "photos/a.JPG", "photos/notes.txt", "photos/sub/c.png")
    planned = plan(["photos"])
    assert pairs(planned, here) == [
        ("photos/a.JPG", "photos_real/a.png"),
        ("photos/b.png", "photos_real/b.png"),
    ]
    assert all(job.within for job in planned.jobs)


def test_a_folder_with_its_subfolders_keeps_its_tree(here: Path) -> None:
    touch(here, "photos/b.png", "photos/sub/deep/c.tif", "photos/sub/a.webp")
    assert pairs(plan(["photos/"], recursive=True), here) == [
        ("photos/b.png", "photos_real/b.png"),
        ("photos/sub/a.webp", "photos_real/sub/a.png"),
        ("photos/sub/deep/c.tif", "photos_real/sub/deep/c.png"),
    ]
    assert ("photos/sub/a.webp", "out/sub/a.png") in pairs(
        plan(["photos"], Path("out"), recursive=True), here
    )


def test_the_current_folder_is_projected_beside_itself(here: Path) -> None:
    touch(here, "x.png")
    assert pairs(plan(["."]), here) == [("x.png", "../here_real/x.png")]


def test_a_folder_keeps_the_names_that_it_gave_whether_outputs_exist_or_not(here: Path) -> None:
    touch(here, "photos/x.png", "photos_real/x.png")
    assert pairs(plan(["photos"]), here) == [("photos/x.png", "photos_real/x.png")]


def test_names_that_would_meet_in_a_folder_keep_their_suffix(here: Path) -> None:
    touch(here, "p/x.png", "p/x.jpg", "p/y.png", "p/sub/x.png")
    assert pairs(plan(["p"], recursive=True), here) == [
        ("p/x.jpg", "p_real/x.jpg.png"),
        ("p/x.png", "p_real/x.png.png"),
        ("p/y.png", "p_real/y.png"),
        ("p/sub/x.png", "p_real/sub/x.png"),
    ]


@pytest.mark.parametrize("overwrite", [False, True])
def test_no_two_inputs_share_an_output(here: Path, overwrite: bool) -> None:
    touch(here, "p/x.png", "p/x.jpg", "p/x.png.gif", "q/x.png", "x.png", "q/x.png.png")
    planned = plan(["p", "q", "x.png"], Path("out"), overwrite=overwrite)
    outputs = [output for _, output in pairs(planned, here)]
    assert len(outputs) == 6
    assert len(set(outputs)) == 6
    # The same call finds the same names once they exist, so that it can go on where it stopped.
    touch(here, *(output for output in outputs[:5]))
    again = plan(["p", "q"], Path("out"), overwrite=overwrite)
    assert [output for _, output in pairs(again, here)] == outputs[:5]


def test_hidden_files_and_folders_are_left_out(here: Path) -> None:
    touch(here, "p/x.png", "p/.x.png", "p/._y.png", "p/.cache/y.png", "p/.mir-abc.part")
    assert pairs(plan(["p"], recursive=True), here) == [("p/x.png", "p_real/x.png")]


@pytest.mark.parametrize("output", ["p/out", "./p/out", "p/../p/out", "{here}/p/out", "link/out"])
def test_an_output_folder_within_the_input_is_not_read_again(here: Path, output: str) -> None:
    touch(here, "p/x.png", "p/sub/out/y.png", "p/out/x.png", "p/out/sub/z.png")
    (here / "link").symlink_to(here / "p")
    planned = plan(["p"], Path(output.format(here=here)), recursive=True)
    assert [str(job.source) for job in planned.jobs] == ["p/x.png", "p/sub/out/y.png"]


# Planning: globs and what there is not


def test_a_glob_is_its_matches_in_order(here: Path) -> None:
    touch(here, "b1.png", "a1.png", "c.png", "sub/d1.png", ".e1.png")
    assert [source for source, _ in pairs(plan(["?1.png"]), here)] == ["a1.png", "b1.png"]
    deep = [source for source, _ in pairs(plan(["**/*1.png"]), here)]
    assert deep == ["a1.png", "b1.png", "sub/d1.png"]


def again(folder: Path, *inputs: str, output: Path | None = None) -> list[tuple[str, str]]:
    """What a plan comes to, which must be the same once its results, or some of them, are there."""
    first = plan(inputs, output)
    found = pairs(first, folder)
    assert all(job.within for job in first.jobs)
    assert len({output.casefold() for _, output in found}) == len(found)
    for _, result in found:
        touch(folder, result)
        assert pairs(plan(inputs, output), folder) == found
    return found


def test_a_glob_is_gone_on_with_as_a_folder_is(here: Path) -> None:
    touch(here, "p/a.png", "p/b.jpg", "p/sub/c.png", "p/d_real.png", "p/notes.txt")
    assert again(here, "p/*.png") == [
        ("p/a.png", "p/a_real.png"), ("p/d_real.png", "p/d_real_real.png"),
    ]  # fmt: skip
    touch(here, "p/a_real_2.png", "p/a_real-face2.png", "p/a_real-face3_2.png", "p/b_real.webp")
    assert again(here, "p/*.*g", "p/**/c.png") == [
        ("p/a.png", "p/a_real.png"), ("p/b.jpg", "p/b_real.png"),
        ("p/d_real.png", "p/d_real_real.png"), ("p/sub/c.png", "p/sub/c_real.png"),
    ]  # fmt: skip


def test_the_results_of_a_glob_lie_in_a_folder_as_their_sources_do(here: Path) -> None:
    touch(here, "p/a.png", "p/sub/a.png", "p/sub/b.jpg", "q/a.png")
    out = Path("out")
    # What lies in the folder of the results is none of the sources.
    assert again(here, "**/sub/a.png", output=out) == [("p/sub/a.png", "out/p/sub/a.png")]
    assert again(here, "p/*.png", output=out) == [("p/a.png", "out/a.png")]
    assert again(here, "p/**/*.png", output=Path("deep")) == [
        ("p/a.png", "deep/a.png"), ("p/sub/a.png", "deep/sub/a.png"),
    ]  # fmt: skip
    assert again(here, "p/*.png", "q/*.png", output=Path("two")) == [
        ("p/a.png", "two/p/a.png"), ("q/a.png", "two/q/a.png"),
    ]  # fmt: skip
    assert again(here, "p/sub/*", output=Path()) == [
        ("p/sub/a.png", "a.png"), ("p/sub/b.jpg", "b.png"),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="is the folder of"):
        plan(["p/*.png"], Path("q/../p"))
    assert pairs(plan(["p/*.png"], Path("p"), overwrite=True), here) == [("p/a.png", "p/a.png")]


def test_names_that_would_meet_beside_a_globs_files_keep_their_suffix(here: Path) -> None:
    touch(here, "x.jpg", "x.png", "y.png")
    assert again(here, "*.*g") == [
        ("x.jpg", "x.jpg_real.png"), ("x.png", "x.png_real.png"), ("y.png", "y_real.png"),
    ]  # fmt: skip


def test_named_files_take_the_next_free_number_beside_a_glob(here: Path) -> None:
    touch(here, "a.png", "a_real.png", "b.png")
    planned = plan(["a.png", "*.png"])
    assert pairs(planned, here) == [("a.png", "a_real_2.png"), ("b.png", "b_real.png")]
    assert [job.within for job in planned.jobs] == [False, True]


def test_where_no_results_are_written_a_glob_is_all_that_it_matches(here: Path) -> None:
    touch(here, "a.png", "a_real.png")
    assert [source for source, _ in pairs(plan(["*.png"], word=""), here)] == [
        "a.png", "a_real.png",
    ]  # fmt: skip


def test_a_file_whose_name_looks_like_a_glob_is_that_file(here: Path) -> None:
    touch(here, "[1].png", "1.png")
    assert pairs(plan(["[1].png"]), here) == [("[1].png", "[1]_real.png")]


def test_what_is_not_there_fails_and_the_rest_is_planned(here: Path) -> None:
    touch(here, "x.png", "empty/notes.txt", "deep/sub/y.png")
    (here / "broken.png").symlink_to("nowhere.png")
    long = "n" * 300 + ".png"
    inputs = ["no.png", "x.png", "no*.png", "broken.png", "empty", "deep", long]
    planned = plan(inputs)
    assert pairs(planned, here) == [("x.png", "x_real.png")]
    assert planned.failed == (
        Result("no.png", "", "failed", "no such file or folder"),
        Result("no*.png", "", "failed", "no file matches"),
        Result("broken.png", "", "failed", "no such file or folder"),
        Result("empty", "", "failed", "no images in this folder; -r searches its subfolders too"),
        Result("deep", "", "failed", "no images in this folder; -r searches its subfolders too"),
        Result(long, "", "failed", "no such file or folder"),
    )
    assert plan(["empty"], recursive=True).failed[0].reason == "no images in this folder"


def test_a_link_that_leads_nowhere_is_not_replaced(here: Path) -> None:
    touch(here, "x.png")
    (here / "x_real.png").symlink_to("nowhere.png")
    assert pairs(plan(["x.png"]), here) == [("x.png", "x_real_2.png")]


def test_no_input_is_taken_twice(here: Path) -> None:
    touch(here, "p/x.png", "p/y.png")
    inputs = ["p/x.png", "./p/x.png", str(here / "p" / "x.png"), "p/*.png", "p", "p/../p"]
    assert pairs(plan(inputs), here) == [
        ("p/x.png", "p/x_real.png"),
        ("p/y.png", "p/y_real.png"),
    ]


@pytest.mark.parametrize("inputs", [["x.png", "y.png"], ["p"], ["*.png"], ["x.png", "-"]])
def test_several_inputs_to_one_file_are_refused(here: Path, inputs: list[str]) -> None:
    touch(here, "x.png", "y.png", "p/x.png")
    with pytest.raises(ValueError, match=r"^-o out\.png is one file, .*: name a folder$"):
        plan(inputs, Path("out.png"))


def test_a_glob_of_one_match_goes_to_one_file(here: Path) -> None:
    touch(here, "x1.png")
    assert pairs(plan(["x*.png"], Path("out.png")), here) == [("x1.png", "out.png")]


def test_planning_writes_nothing(here: Path) -> None:
    touch(here, "p/x.png", "y.png")
    before = everything_in(here)
    plan(["p", "y.png"])
    plan(["p"], Path("out"))
    assert everything_in(here) == before


@pytest.mark.parametrize("name", ["out.bmp", "out.GIF"])
def test_an_output_of_a_kind_that_is_not_written_is_refused(here: Path, name: str) -> None:
    touch(here, "a.png")
    with pytest.raises(ValueError, match=r"written as \.png"):
        plan(["a.png"], Path(name))


def test_a_folder_may_have_the_name_of_an_image(here: Path) -> None:
    touch(here, "a.png")
    assert plan(["a.png"], Path("x.png"), into_folder=True).jobs[0].output == Path("x.png/a.png")


def test_the_root_has_no_name_for_a_default_output() -> None:
    with pytest.raises(ValueError, match="name a folder with -o"):
        plan(["/"])


# Several folders, and formats


def test_several_folders_get_a_folder_each(here: Path) -> None:
    touch(here, "a/x.png", "b/x.png", "deep/a/x.png", "deep/a/sub/y.jpg", "x.png")
    planned = plan(["a", "b", "deep/a", "x.png"], Path("out"), recursive=True)
    assert pairs(planned, here) == [
        ("a/x.png", "out/a/x.png"),
        ("b/x.png", "out/b/x.png"),
        ("deep/a/x.png", "out/a_2/x.png"),
        ("deep/a/sub/y.jpg", "out/a_2/sub/y.png"),
        ("x.png", "out/x.png"),
    ]
    # The same call finds the same names once they exist, so that it can go on where it stopped.
    touch(here, *(output for _, output in pairs(planned, here)[:4]))
    again = plan(["a", "b", "deep/a"], Path("out"), recursive=True)
    assert pairs(again, here) == pairs(planned, here)[:4]


def test_names_that_differ_in_case_alone_count_as_equal(here: Path) -> None:
    # Windows and macOS would write the second over the first, or skip it.
    touch(here, "p/x.jpg", "p/X.png", "p/Y.png", "p/straße.png", "p/STRASSE.jpg")
    if len(list((here / "p").iterdir())) < 5:
        pytest.skip("this file system is such a one")
    outputs = [Path(output).name for _, output in pairs(plan(["p"]), here)]
    assert sorted(outputs) == sorted(
        ["X.png.png", "x.jpg.png", "Y.png", "straße.png.png", "STRASSE.jpg.png"]
    )
    assert len({name.casefold() for name in outputs}) == 5


def test_a_name_that_was_told_apart_does_not_meet_another(here: Path) -> None:
    touch(here, "p/x.png", "p/x.jpg", "p/X.PNG.gif", "p/x.png.png")
    outputs = [Path(output).name for _, output in pairs(plan(["p"]), here)]
    assert len({name.casefold() for name in outputs}) == 4


@pytest.mark.parametrize(
    ("format", "outputs"),
    [
        (None, ["a.png", "b.png", "c.png", "d.png", "e.png", "f.png"]),
        ("png", ["a.png", "b.png", "c.png", "d.png", "e.png", "f.png"]),
        ("jpg", ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg", "f.jpg"]),
        ("webp", ["a.webp", "b.webp", "c.webp", "d.webp", "e.webp", "f.webp"]),
        ("same", ["a.jpg", "b.PNG", "c.webp", "d.png", "e.jpeg", "f.png"]),
    ],
)
def test_the_format_is_in_the_names(here: Path, format: Format | None, outputs: list[str]) -> None:
    names = ["a.jpg", "b.PNG", "c.webp", "d.tif", "e.jpeg", "f.heic"]
    touch(here, *(f"p/{name}" for name in names))
    planned = plan(["p"], Path("out"), format=format)
    assert pairs(planned, here) == [
        (f"p/{name}", f"out/{output}") for name, output in zip(names, outputs, strict=True)
    ]


def test_with_the_same_format_names_do_not_meet(here: Path) -> None:
    touch(here, "p/x.jpg", "p/x.png", "p/x.tif")
    assert pairs(plan(["p"], Path("out"), format="same"), here) == [
        ("p/x.jpg", "out/x.jpg"),
        ("p/x.png", "out/x.png.png"),
        ("p/x.tif", "out/x.tif.png"),
    ]


@pytest.mark.parametrize(
    ("name", "format", "fits"),
    [("o.jpg", "jpg", True), ("o.jpeg", "jpg", True), ("o.png", "jpg", False),
     ("o.jpg", "png", False), ("o.webp", "same", True), ("o.png", None, True)],
)  # fmt: skip
def test_a_format_and_an_output_must_agree(
    here: Path, name: str, format: Format | None, fits: bool
) -> None:
    touch(here, "x.png")
    if fits:
        assert plan(["x.png"], Path(name), format=format).jobs[0].output == Path(name)
    else:
        with pytest.raises(ValueError, match=f"is no {format} file"):
            plan(["x.png"], Path(name), format=format)


@pytest.mark.parametrize("output", ["p", "./p", "p/../p", "link"])
def test_the_input_folder_is_no_output_unless_told(here: Path, output: str) -> None:
    touch(here, "p/x.png", "p/y.jpg")
    (here / "link").symlink_to("p")
    with pytest.raises(ValueError, match="is the input folder"):
        plan(["p"], Path(output))
    assert len(plan(["p"], Path(output), overwrite=True).jobs) == 2


@pytest.mark.parametrize(
    "inputs", [["p", "p/sub"], ["p/sub", "p"], ["p", "p"], ["p/sub/y.png", "p"], ["p", "p/*/y.png"]]
)
def test_inputs_that_overlap_are_done_once(here: Path, inputs: list[str]) -> None:
    touch(here, "p/x.png", "p/sub/y.png", "p/sub/z.png")
    for output in (None, Path("out")):
        planned = plan(inputs, output, recursive=True)
        sources = sorted(source for source, _ in pairs(planned, here))
        assert sources == ["p/sub/y.png", "p/sub/z.png", "p/x.png"]
        assert planned.failed == ()
        outputs = {job.output for job in planned.jobs}
        assert len(outputs) == 3
        assert not outputs & {job.source for job in planned.jobs}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_in_a_folder_are_passed_over_and_broken_links_fail_later(here: Path) -> None:
    touch(here, "p/x.png")
    os.mkfifo(here / "p/pipe.png")
    (here / "p/to pipe.png").symlink_to("pipe.png")
    (here / "p/to x.png").symlink_to("x.png")
    (here / "p/nowhere.png").symlink_to("gone.png")
    sources = [source for source, _ in pairs(plan(["p"]), here)]
    assert sources == ["p/nowhere.png", "p/to x.png", "p/x.png"]
