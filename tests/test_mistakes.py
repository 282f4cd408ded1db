"""What the author of a new task gets wrong is told in one line: his file, what it holds, the rule."""

import importlib
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import generators.tasks
import inference.tasks
import schemas.tasks
import training.models
import training.tasks
from inference.task_modules import find_inference, find_method
from schemas.runtime.errors import UserError
from schemas.runtime.settings import load_recipe
from schemas.task import find_task
from tests.conftest import ROOT, TOY, Command, refused
from training.contract import find_learn, find_model
from training.features import Features
from training.moments import IDENTITY
from training.network import Network

PACKAGES = (schemas.tasks, generators.tasks, training.tasks, inference.tasks, training.models)

type Author = Callable[[str, str, str], int]


@pytest.fixture
def author(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Author]:
    """Copies the toy task to `mine`, and one model, with one text replaced by another in the file of one package.

    It returns the line of what is replaced.
    """

    def write(changed: str, old: str, new: str) -> int:
        line = 0
        for package in PACKAGES:
            room = package.__name__.replace(".", "/")
            source = ROOT / room / "unet.py" if package is training.models else TOY / room / "toy.py"
            text = source.read_text().replace('"toy"', '"mine"')
            if room == changed:
                assert old in text
                line = text[: text.index(old)].count("\n") + 1
                text = text.replace(old, new, 1)
            (tmp_path / room).mkdir(parents=True)
            (tmp_path / room / "mine.py").write_text(text)
            monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path / room)])
        importlib.invalidate_caches()
        return line

    yield write
    for package in PACKAGES:
        sys.modules.pop(f"{package.__name__}.mine", None)
        vars(package).pop("mine", None)


def told(find: Callable[[str], object], room: str, said: str) -> None:
    """Finding the file gives a line that names it."""
    with pytest.raises(UserError, match=rf"{room}/mine\.py") as error:
        find("mine")
    assert said in str(error.value)


def imported(what: str) -> str:
    return f"from schemas.task import Import\nIMPORT = Import({what})\nTASK ="


GRIDS = 'grids=(Grid(("x",)),)'
SCHEMA = [
    ("TASK =", "TAKS =", "must hold TASK (Task)"),
    ("TASK =", "import nothing_like_it\nTASK =", "line {line}: ModuleNotFoundError: No module named 'nothing_like_it'"),
    ("TASK =", "TASK = =", "line {line}: SyntaxError: invalid syntax"),
    ("TASK =", "TASK = Tusk or", "line {line}: NameError: name 'Tusk' is not defined"),
    ('"mine"', '"mime"', "TASK.name = 'mime': must be the name of the file, 'mine'"),
    ('"1", "input"', '"1", "inputs"', "line 16: 'inputs': must be one of input, target"),
    ('("sample",), "float32"', '"sample", "float32"', "line 20: 'sample': must be a tuple"),
    (
        "Ambiguities()",
        'Ambiguities(("constat",), ("line",))',
        "must be one of constant, ramp, shift, twin; did you mean constant?",
    ),
    (GRIDS, f'{GRIDS}, windou="a"', "windou: 'a': no such name"),
    (
        "Ambiguities()",
        'Ambiguities(("constant",), ("lime",))',
        "TASK.ambiguities.phases: the schema has no field 'lime'",
    ),
    (
        "Ambiguities()",
        'Ambiguities(("constant",))',
        "phases must name the targets to which constant and ramp are added",
    ),
    (GRIDS, 'grids=(Grid(("q",)),)', "TASK.grids: no field has the dimension q"),
    (GRIDS, 'grids=(Grid(("x",)), Grid(("x",)))', "TASK.grids: x must belong to one grid only"),
    (GRIDS, 'grids=(Grid(("x",), of=("edge",)),)', "of=('edge',): edge must be a dimension of another grid"),
    (GRIDS, 'grids=(Grid(("x",), of=("edge", "x")),)', "must have the same number of dimensions"),
    (GRIDS, f'{GRIDS}, slices=("x",)', "TASK.slices: x must be a dimension of a field and must not belong to a grid"),
    (GRIDS, f'{GRIDS}, slices=("edge",)', "TASK.slices: target line must have the dimensions edge"),
    ("TASK =", "IMPORT = 1\nTASK =", "IMPORT: must be Import(...)"),
    ("TASK =", imported('roots=("line",)'), "IMPORT.roots: field line has the role target, must be input"),
    ("TASK =", imported('needs=("hight",)'), "IMPORT.needs: the schema has no field 'hight'; did you mean height?"),
    ("TASK =", imported('usual={"line": (0, 1)}'), "IMPORT.usual: field line has the role target, must be parameter"),
    ("TASK =", imported('follows={"position": "lime"}'), "IMPORT.follows: the schema has no field 'lime'"),
    ('"1", "input"', '"1", "auxiliary"', "one field must have the role input"),
    ('"1", "target"', '"1", "auxiliary"', "one field must have the role target"),
    ('("sample",), "float32"', '("x",), "float32"', "field height: a field of role parameter must have `sample`"),
]


@pytest.mark.parametrize(("old", "new", "said"), SCHEMA)
def test_schema(old: str, new: str, said: str, author: Author) -> None:
    line = author("schemas/tasks", old, new)
    told(find_task, "schemas/tasks", said.replace("{line}", str(line)))


def test_window_on_another_grid(author: Author) -> None:
    field = 'Field("w", ("edge",), "float32", "1", "auxiliary", "w")'
    author("schemas/tasks", f"{GRIDS},\n    fields=(", f'{GRIDS}, window="w",\n    fields=({field},')
    with pytest.raises(UserError, match=r"targets and window must have the same dimensions, not .*edge"):
        find_task("mine")


GENERATOR = [
    ("VERSION = 1", "VERSON = 1", "must hold VERSION (int)"),
    ("def measure(", "def measures(", "must hold measure(recipe, block, arrays, rngs), a function"),
    ("recipe: Recipe, rng: Streams", "recipe: Recipe", "draw is called as draw(recipe, rng): too many"),
    ('{"default": Recipe()}', '{"standard": Recipe()}', "RECIPES: one must be named default"),
    ('{"default": Recipe()}', '{"default": Recipe}', "RECIPES['default']: must be a Recipe(...)"),
    (
        'Field(0.1, **setting("standard deviation of the noise"))',
        "0.1",
        "Recipe.noise: must be Field(default, **setting(meaning, unit))",
    ),
    ("def sizes(", "def size_s(", "abstract method 'sizes'"),
    (', "edge": 2', "", "Recipe.sizes(): edge = None: must be a length"),
    ('"x": self.size', '"x": self.size / 2', "Recipe.sizes(): x = 16.5: must be a length"),
    ('{"expected"} if self.expectation', '{"expectd"} if True', "Recipe.optional(): expectd: optional fields are"),
    (
        '"edge": 2',
        '"edge": self.edge',
        "line {line}, in Recipe: AttributeError: 'Recipe' object has no",
    ),
    ("rng.shape.integers(", "rmg.shape.integers(", "line {line}, in draw: NameError: name 'rmg' is not defined"),
    ("recipe.size, 2)", "recipe.size, 3)", "draw gives edges of shape (3,); it must be (2,)"),
    (
        "np.float32(recipe.height.draw(rng.shape))",
        "recipe.height.draw(rng.shape)",
        "which float32 cannot hold",
    ),
    ("edges[0] :", "edges[2] :", "line {line}, in simulate: IndexError: index 2 is out of bounds"),
    (
        "np.roll(line, 1, -1) +",
        "line[:, 1:] +",
        "line {line}, in simulate: ValueError: operands could not",
    ),
    ("rng.noise.standard", "rng.noise.std", "line {line}, in measure: AttributeError: "),
    ("recipe.pixel * np", "recipe.pixels * np", "line {line}, in constants: AttributeError: "),
    ("    height: np.float32", "    heigth: np.float32", "the result of draw lacks height, which the schema has"),
    ('    return {"line"', '    {"line"', "simulate must return a dict of arrays by field"),
    ('{"line": line,', '{"line": line.tolist(),', "simulate must return a dict of arrays by field"),
    ('{"line": line,', "{", "missing fields: line"),
    ('{"line": line,', '{"line": line[:1],', "fields have different numbers of samples"),
    ('{"line": line,', '{"line": line[:, 1:],', "line: shape (32,) per sample, must be (33,)"),
    ('{"line": line,', '{"line": line.astype(float),', "line: dtype float64, must be float32"),
    ("    return measured", "    measured", "measure must return a dict of arrays by field"),
    (
        '{"position": recipe',
        '{"positon": recipe',
        "constants must return the fields of the schema, not more or fewer: position, positon; the schema has position",
    ),
    ("arange(recipe.size)", "arange(recipe.size + 1)", "position: shape (34,) per sample, must be (33,)"),
    ('    return {"position"', '    {"position"', "constants must return a dict of arrays by field"),
]


@pytest.mark.parametrize(("old", "new", "said"), GENERATOR)
def test_generator(old: str, new: str, said: str, author: Author, generate: Command) -> None:
    line = author("generators/tasks", old, new)
    told = said.replace("{line}", str(line))
    refused(generate("--task", "mine", "--n", 4, "--scheduler", "synchronous"), "generators/tasks/mine.py", told)


def test_grids_that_do_not_fit_are_told_as_such(author: Author, generate: Command) -> None:
    author("schemas/tasks", GRIDS, 'grids=(Grid(("x",)), Grid(("edge",), of=("x",), how="reciprocal"))')
    said = "edge = 2: must be x = 33; correct it, or TASK.grids in schemas/tasks/mine.py"
    refused(generate("--task", "mine", "--n", 4, "--scheduler", "synchronous"), "Recipe.sizes()", said)


def test_developers_see_all_calls(author: Author, generate: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    line = author("generators/tasks", "rng.shape.integers(", "rmg.shape.integers(")
    monkeypatch.setenv("DRYBEAM_TRACEBACK", "1")
    code, _, said = generate("--task", "mine", "--n", 4, "--scheduler", "synchronous")
    assert code == 2
    assert said.splitlines()[0] == "Traceback (most recent call last):"
    assert said.splitlines()[-1].startswith(f"generators/tasks/mine.py, line {line}, in draw: NameError: ")


NEAREST: list[tuple[Callable[[str], object], str]] = [
    (find_task, "--task tiee: no such task; did you mean tie?"),
    (find_model, "--model umet: no such model; did you mean unet?"),
    (
        lambda name: load_recipe(name, ["default", "published"]),
        "--recipe publish: no such recipe or file; did you mean published?",
    ),
]


@pytest.mark.parametrize(("find", "said"), NEAREST)
def test_the_nearest_name(find: Callable[[str], object], said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        find(said.split()[1].rstrip(":"))


PLAIN = 'LEARN = Learn(inputs={"line": ("blurred",)}'
DERIVED = """from training.contract import Derived
D = Derived(%s, lambda fields: fields["blurred"][..., None], %s, "the same")
LEARN = Learn(inputs={"line": (D,)}"""
TRAINING = [
    ("LEARN =", "import gone\nLEARN =", "line {line}: ModuleNotFoundError: No module named 'gone'"),
    ("LEARN =", "LERN =", "must hold LEARN (Learn)"),
    ('("flip_x",)', '("flip_y",)', "LEARN.symmetries = ('flip_y',): must be a tuple of Symmetry and of these: flip_x"),
    (
        '("flip_x",)',
        '("flip_x",), grids={"line": ("z",)}',
        "LEARN.grids['line']: must name one of LEARN.inputs and spatial dimensions",
    ),
    ('("flip_x",)', '("flip_x",), losses={"a": 1}', "LEARN.losses['a']: must be a Loss(about, compute)"),
    ('("flip_x",)', '"flip_x"', "LEARN.symmetries = 'flip_x': must be a tuple"),
    ('{"line": ("blurred",)}', "{}", "LEARN.inputs: must name at least one"),
    ('("blurred",)', '"blurred"', "LEARN.inputs['line'] = 'blurred': must be a tuple"),
    ('("blurred",)', '("blured",)', "the schema has no field 'blured'; did you mean blurred?"),
    ('("blurred",)', '("line",)', "field line has the role target, must be input or parameter"),
    ('("height",)', '("blurred",)', "LEARN.scalars: field blurred has the role input, must be parameter"),
    ('("flip_x",)', '("flip_x",), recipes={"published": {}}', "LEARN.recipes: one must be named default"),
    ('("flip_x",)', '("flip_x",), heads={"a": 1}', "LEARN.heads['a']: must be a Head(about, channels, targets)"),
    (PLAIN, DERIVED % ('("line",)', '"line"'), "LEARN.inputs['line']: field line has the role target"),
    (PLAIN, DERIVED % ('("blurred",)', '"lin"'), "like: the schema has no field 'lin'; did you mean line?"),
]


@pytest.mark.parametrize(("old", "new", "said"), TRAINING)
def test_training(old: str, new: str, said: str, author: Author) -> None:
    line = author("training/tasks", old, new)
    told(find_learn, "training/tasks", said.replace("{line}", str(line)))


def test_an_input_on_another_grid(author: Author) -> None:
    author("schemas/tasks", '"blurred", ("sample", "x")', '"blurred", ("sample", "detector")')
    told(find_learn, "training/tasks", "LEARN.inputs['line']: blurred (sample, detector) does not have the dimension x")


def test_a_derived_input_reads_its_fields_alone(author: Author) -> None:
    computed = (DERIVED % ('("blurred",)', '"line"')).replace('fields["blurred"]', 'fields["height"]')
    author("training/tasks", PLAIN, computed)
    told(
        lambda name: Features(find_task(name), find_learn(name), "line", (), {"line": IDENTITY}, {"x": 33}).inputs,
        "training/tasks",
        "in <lambda>: KeyError: 'height'; it receives blurred",
    )


@pytest.mark.parametrize("shape", ["[:, ::2, None]", "[:, :1, None]", "[:, None, :, None]"])
def test_what_is_computed_must_lie_on_the_grid_of_the_targets(shape: str, author: Author) -> None:
    """Otherwise a loss would compare arrays of other shapes without a word."""
    computed = (DERIVED % ('("blurred",)', '"line"')).replace("[..., None]", shape)
    author("training/tasks", PLAIN, computed)
    sizes = {"x": 33, "edge": 2}
    features = Features(find_task("mine"), find_learn("mine"), "line", (), {"line": IDENTITY}, sizes)
    with pytest.raises(UserError, match=r"must be \(33, 1\)|must be \(sample, \*spatial, channel\)"):
        features.refuse_misfit()


MEASURED = """from inference.contract import Measures
REPORT = Report(measures=Measures({}, print, tuple([%s]), rank="worst"), """
SECTION = """from inference.contract import Section
REPORT = Report(sections=(Section("Lines", lambda source: None),), """
GROUP = 'scope="group", group="%s", about="Wiener'
STITCHED = """from inference.contract import Stitch
STITCH = Stitch("line", ("blurred",), print, "position", 1, "ramp")
REPORT ="""
INFERENCE = [
    ("REPORT =", "REPROT =", "must hold REPORT (Report)"),
    ('needs=("blurred",)', 'needs=("blured",)', "METHODS['wiener'].needs: the schema has no field 'blured'"),
    ('needs=("blurred",)', 'needs=("line",)', "METHODS['wiener'].needs: field line has the role target"),
    ('{"noise": Setting', '{"nois": Setting', "METHODS['wiener'].solve(fields, nois): missing"),
    ("(0.001, 0.01, 0.03, 0.1, 0.3)", "0.1", "METHODS['wiener'].settings['noise']: must be a Setting("),
    ('about="Wiener', 'scope="scan", about="Wiener', "METHODS['wiener'].scope = 'scan': must be slice, sample or"),
    ('about="Wiener', 'group="edges", about="Wiener', "METHODS['wiener'].scope = 'sample': must be"),
    ('about="Wiener', GROUP % "blurred", "METHODS['wiener'].group: field blurred has the role input"),
    ('about="Wiener', GROUP % "edges", "METHODS['wiener'].group: edges must be a parameter with one integer"),
    ("REPORT =", "FINISH = 1\nREPORT =", "FINISH: must be Finish(...)"),
    ("REPORT =", STITCHED, "STITCH.free = 'ramp': must be 'constant' or ''"),
    ("REPORT =", "STITCH = 1\nREPORT =", "STITCH: must be Stitch(...)"),
    ("REPORT = Report(", MEASURED % '"line"', "REPORT.measures.needs: field line has the role target"),
    ("REPORT = Report(", MEASURED % "", "REPORT.measures: rank = 'worst' must be one of scores"),
    ("REPORT = Report(", 'REPORT = Report(sections=("x",), ', "REPORT.sections: 'x' must be a Section"),
    ("REPORT = Report(", SECTION, "compute is called as REPORT.sections: 'Lines': compute(source, stores)"),
    ('"identity": Method(', '"identity": dict(', "METHODS['identity']: must be a Method(...)"),
    ('(Shown("blurred"),)', '("blurred",)', "REPORT.inputs: 'blurred' must be a Shown"),
    ('Shown("blurred")', 'Shown("blured")', "REPORT.inputs: the schema has no field 'blured'"),
    ('Shown("blurred")', 'Shown("blurred", (0,))', "REPORT.inputs: blurred has the index (0,); it must be an index"),
    ('("height", "edges")', '("height", "edge")', "REPORT.parameters: the schema has no field 'edge'"),
    ('("height", "edges")', '("height", "position")', "REPORT.parameters: field position has the role auxiliary"),
]


@pytest.mark.parametrize(("old", "new", "said"), INFERENCE)
def test_inference(old: str, new: str, said: str, author: Author) -> None:
    author("inference/tasks", old, new)
    told(find_inference, "inference/tasks", said)


SOLVED = [
    ('{"lime": fields["blurred"]}', "identity must return a dict of arrays, with line"),
    ('{"line": fields["blurred"] @ 1}', "mine.py, line {line}, in identity: ValueError: matmul"),
    ('{"line": fields["height"]}', "in identity: KeyError: 'height'; it receives blurred: name further fields in"),
    ('fields["blurred"]', "identity must return a dict of arrays, with line"),
    ('{"line": fields["blurred"][1:]}', "identity returned line (3, 33) float32, must be ('sample', 'x') = (4, 33)"),
    ('{"line": fields["blurred"][:, 1:]}', "identity returned line (4, 32) float32"),
    ('{"line": fields["blurred"][..., None]}', "identity returned line (4, 33, 1) float32"),
    ('{"line": 1j * fields["blurred"]}', "identity returned line (4, 33) complex64"),
]


@pytest.mark.parametrize(("solved", "said"), SOLVED)
def test_a_method_returns_the_targets(solved: str, said: str, author: Author) -> None:
    line = author("inference/tasks", '{"line": fields["blurred"]}', solved)
    fields = {"blurred": np.zeros((4, 33), np.float32)}
    with pytest.raises(UserError, match=r"inference/tasks/mine\.py") as error:
        find_method("mine", "identity").invert(find_task("mine"), {}, fields)
    assert said.replace("{line}", str(line)) in str(error.value)


def test_a_method_sees_what_it_needs_alone(author: Author) -> None:
    """In tuning the truth is at hand, too."""
    author("inference/tasks", "REPORT", "REPORT")  # nothing is wrong
    fields = {name: np.zeros((4, 33), np.float32) for name in ("blurred", "line")}
    assert find_method("mine", "identity").prepare_fields(fields).keys() == {"blurred"}


MODEL = [
    ('FIT = "enlarged"', 'FIT = "keeps"', "FIT = 'keeps': must be one of kept, enlarged, resized, any, operator"),
    ("def build(", "def builds(", "must hold build(config, inputs, outputs, rngs, dtype), a function"),
    ("outputs: Shape, rngs: nnx.Rngs, dtype: Any) -> nnx.Module", "outputs: Shape) -> Any", "build is called as"),
    ("class Config(Settings)", "class Config", "Config: must be a schemas.runtime.settings.Settings"),
    (
        "    width:",
        '    name: str = Field("a", **setting("b"))\n    width:',
        "without a setting called name",
    ),
    ("32, ge=1, le=4096, ", "", "Config.width: must be Field(default, **setting(meaning, unit))"),
]


@pytest.mark.parametrize(("old", "new", "said"), MODEL)
def test_model(old: str, new: str, said: str, author: Author) -> None:
    author("training/models", old, new)
    told(find_model, "training/models", said)


class Flat(nnx.Module):
    """Loses the axis of its channels."""

    def __call__(self, x: jnp.ndarray, key: None = None) -> jnp.ndarray:
        return x[..., 0]


class Keyless(nnx.Module):
    def __call__(self, x: jnp.ndarray) -> jnp.ndarray:
        return x


def test_a_network_keeps_all_axes_but_the_last() -> None:
    network = Network(Flat)
    with pytest.raises(UserError, match=r"tests/test_mistakes.py: returns \(2, 5\) for \(2, 5, 1\)"):
        network({}, {}, jnp.zeros((2, 5, 1)))


@pytest.mark.parametrize(("build", "said"), [(Keyless, r"__call__\(x, key\)"), (lambda: None, "must return a flax")])
def test_build_returns_a_module_that_takes_a_key(build: Callable[[], Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Network(build)
