"""Text of --help: of the program with every choice and a phrase on each, and of each verb."""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

from calib_sweep.places import CONF

PROGRAM = """\
calib-sweep: how much of a compressed model's score is the method, how much the calibration data

    calib-sweep -m method=wanda,sparsegpt 'seed=range(5)'    run the grid, with or without -m
    calib-sweep check -m ...                 validate every cell, load no weights
    calib-sweep prefetch -m ...              download all that the grid needs, load it offline
    calib-sweep inspect dataset=c4 seed=0    show a calibration set
    calib-sweep rescore -m ...               finished cells on more corpora or tasks
    calib-sweep add -m ...                   put a grid into its folder, run nothing
    calib-sweep work results/NAME            a worker for the grids of a folder, anywhere
    calib-sweep status results/NAME          cells, jobs, time left, failures of a sweep
    calib-sweep report results/NAME          the tables and figures of a sweep, from its records
    calib-sweep report results/A results/B   the same differences in both, and whether they differ
    calib-sweep compare results/A results/B  why the numbers of two sweeps differ
    calib-sweep import scores.csv            scores from elsewhere become a sweep to report on
    calib-sweep dashboard results/NAME       the W&B workspace and report of a sweep
    calib-sweep sync results/NAME            bring over to W&B what it lacks of a sweep
    calib-sweep gate results/NAME --loss 0.01    is the loss against dense within a limit
    calib-sweep plan results/NAME --budget 40   what to run next: datasets, seeds, items
    calib-sweep export SET --to FOLDER       calibration sets to publish, with card and licence
    calib-sweep doctor [results]             what this machine has; for a bug report
    calib-sweep VERB --help                  more on one of these

Choices (GROUP=NAME; more in folders given by --config-dir, $CALIB_SWEEP_CONF, ./conf.local)

{choices}
hydra/launcher=
    basic                   this process, and on a CPU others beside it: workers=auto
    accelerate              one worker per GPU of this machine
    slurm                   workers as SLURM jobs: see docs/cluster.md
{launchers}
hydra/sweeper=
    grid                    every cell of it
    adaptive                seed by seed, until methods are told apart: see docs/analysis.md

Any key of the configuration can be set, and swept with -m: KEY=VALUE,VALUE
    calib-sweep --cfg job                    all keys with their values
    calib-sweep --hydra-help                 Hydra's own options
Exit codes: 0 all cells done; 1 refused before anything started; 3 some cells failed, others kept;
130 told to end (Ctrl-C, SIGTERM, SIGHUP)
"""

VERBS = {
    "check": """\
calib-sweep check [-m] KEY=VALUE ...    validate every cell of a grid and estimate what it costs

Builds every part of every cell and reads small files only: configurations, tokenizers, text. Tells
all mistakes at once, how many cells are done, and how long the others take. A model's folder needs
no weights for this. Takes what a run takes; with hydra/launcher=slurm it also prints the batch
script, and submits nothing.

    calib-sweep check -m method=wanda,sparsegpt 'seed=range(5)'
    calib-sweep check -m experiment=paper hydra/launcher=slurm hydra.launcher.partition=gpu
Exit codes: 0 every cell is valid; 1 something is not
""",
    "prefetch": """\
calib-sweep prefetch [-m] KEY=VALUE ...    download all that a grid needs, and load it offline

Fetches models, datasets, evaluation corpora and tasks into the Hugging Face cache (HF_HOME). Then a
second process loads everything again without a network: what loads there loads on a compute node
that shares the cache. Takes what a run takes.

    calib-sweep prefetch -m experiment=paper model=opt_125m
Exit codes: 0 everything is here; 1 something is not to be had
""",
    "inspect": """\
calib-sweep inspect [-m] KEY=VALUE ...    show the calibration sets of a grid

Draws each set as a run would, shows its samples, its source and what describes it, what several
sets have in common, and how much of what is scored stands in them. Writes the same as a page with
figures, samples side by side: results_dir/sweep_name/inspection/index.html, and inspection.md.

The dense model's perplexity of each sample needs its weights; dense_perplexity=false spares it.

    calib-sweep inspect dataset=c4 seed=0
    calib-sweep inspect -m dataset=c4,wikitext2 seed=0,1
""",
    "rescore": """\
calib-sweep rescore [-m] KEY=VALUE ...    score finished cells on more corpora or tasks

Does what the same words without rescore do, and refuses cells that were never finished with another
evaluation: nothing is compressed by a slip of the hand. What a cell of the same weights has scored
is taken over; only what is new is scored. A model that was kept (save_model) is read from disk,
any other is compressed again and must have the very weights: their hash is in the record.

    calib-sweep -m method=wanda,gptq 'seed=range(5)'
    calib-sweep rescore -m method=wanda,gptq 'seed=range(5)' evaluation=paper
""",
    "add": """\
calib-sweep add [-m] KEY=VALUE ...    put a grid into its folder, for workers elsewhere

Checks every cell as a run would, draws the calibration sets, and keeps the grid in its folder. Runs
nothing. Takes what a run takes. A run keeps its grid as well.

    calib-sweep add -m method=wanda,gptq 'seed=range(10)' sweep_name=first
    calib-sweep work results/first
""",
    "work": """\
calib-sweep work FOLDER [OPTION ...] [hydra/launcher=NAME ...] [workers=N]    a worker for a folder

Runs the cells of all grids that are kept in FOLDER (results_dir/sweep_name) and that nobody else
runs or has run. Start as many as you like, anywhere that sees the folder, at any time. Each ends
when all cells are done or have failed; then there is a report. Needs no words of the grid, and none
of its YAML: the grid is in the folder. What its cells read must be here under the same paths.

    --max-cells N      each worker runs at most N cells
    --for SECONDS      takes no cell after so long; the one that runs is finished
    --wait SECONDS     once all is done, stay so long for another grid
    workers=N          processes on a CPU, instead of what the grid says
    hydra/launcher=accelerate    one worker for each GPU here; any launcher will do

    calib-sweep work results/first
    calib-sweep work results/first --for 3600
    calib-sweep work results/first hydra/launcher=accelerate
Exit codes: those of a run; 0, too, where a limit was reached and others go on
""",
    "status": """\
calib-sweep status FOLDER    how a sweep gets on: cells, jobs, the time that is left, failures

Reads FOLDER (results_dir/sweep_name) alone, so it may be asked on any machine that sees it, by
whoever may read it. A cell is running while the process that claims it lives, or beats from another
host; lost when that is gone. Jobs are told where SLURM can be asked. Nothing is written.

    calib-sweep status results/default
    watch -n 60 calib-sweep status results/default
Exit codes: 0 all cells done; 3 not yet, or some failed
""",
    "report": """\
calib-sweep report FOLDER ... [--published FILE] [analysis.KEY=VALUE ...]    tables and figures

Reads the records in FOLDER (results_dir/sweep_name) and writes FOLDER/report: index.html, tables as
CSV and LaTeX, figures. Prints the main table. A run does this at its end by itself.

Of several folders it compares the first sweep with each other one: the same pairs of methods, on
the calibration datasets that all have, and whether their differences differ; of sweeps of several
models also whether the order of methods holds over models. That is written to A/report-with-B, or
to the folder behind --to. The sweeps' own reports are left alone.

    calib-sweep report results/default
    calib-sweep report results/default analysis.num_resamples=10000
    calib-sweep report results/at_half results/at_seventy --to results/both
    calib-sweep report results/default --published self_calibration    beside numbers of others
""",
    "compare": """\
calib-sweep compare FOLDER FOLDER    why do my numbers differ from yours

Says of the cells that two sweeps have in common whether their scores are equal, to the last bit or
how far apart, and what else differs: settings, calibration sets (by the hash of their tokens),
versions, code, machine; and which cells only one of them has. Cells are the same with the same
model, method, dataset, seed and replicate. Reads records only: copy those of a colleague anywhere.

    calib-sweep compare results/default theirs/default
Exit codes: 0, whatever differs; 1 where a folder has no records
""",
    "import": """\
calib-sweep import SCORES [FOLDER] [--percent] [KEY=COLUMN ...] [KEY:=VALUE ...]

Makes a record of each cell in a table of scores (CSV), for report and load_scores. FOLDER is
results/SCORES if it is not named. A table is long (model, method, dataset, seed, metric, value;
also stderr, direction, unit, replicate, task) or wide (a column for each score: acc/arc_easy,
ppl/wikitext2). A column whose name has a dot is a setting (method.sparsity). method is "dense" for
the model as it was. Rows without a value are left out. All mistakes are told at once; nothing that
is there is overwritten, and the same table gives the same bytes.

    --percent        accuracies and other fractions are in percent; --fraction: they are not
    seed=draw        the column "draw" says the seed; so for all the other columns
    model:=llama     one value for all rows
    metric:=acc      wide: columns of unknown names are tasks, and their scores accuracies
    ignore=a,b       columns to leave out

    calib-sweep import scores.csv results/theirs --percent model:=llama
    calib-sweep report results/theirs
SCORES may be a folder of records in percent, with --percent: they are written anew, in fractions.
""",
    "dashboard": """\
calib-sweep dashboard FOLDER [tracking.wandb.KEY=VALUE ...]    W&B workspace and report of a sweep

Writes FOLDER/report/dashboard, and pushes it when you are logged in to W&B. Its cells must be W&B
runs already (tracking=wandb, or sync), and there must be a report.

    calib-sweep dashboard results/default
""",
    "sync": """\
calib-sweep sync FOLDER [tracking.wandb.KEY=VALUE ...]    bring over to W&B what it lacks of a sweep

Uploads the finished cells in FOLDER that are no W&B runs yet, and the report. Needs a login
(wandb login), or tracking.wandb.mode=offline for offline runs.

    calib-sweep sync results/default
    calib-sweep sync results/default tracking.wandb.project=my_project tracking.wandb.timeout_s=120
Exit codes: 0 all is there; 3 some is not
""",
    "gate": """\
calib-sweep gate FOLDER --loss LIMIT [OPTION ...]    is the loss against dense within a limit

Passes where the loss of every method, in every headline metric, is within LIMIT with confidence:
for other calibration draws of the datasets in FOLDER, and other test items of the same kind.

    --loss 0.01          of the mean draw: one point of accuracy, 1 % of perplexity
    --worst 0.05         also of 95 % of all draws, on each dataset (a tolerance bound)
    --confidence 0.95    about 5 % or fewer of models pass whose loss is at the limit
    --method NAME        these only, separated by commas
    --metric NAME        these only: accuracy, perplexity, acc/boolq

    calib-sweep gate results/default --loss 0.01 --worst 0.05 --metric accuracy
Exit codes: 0 within; 4 not shown to be within; 5 not to be known: too few draws, no dense cell, and
nothing else is beyond its limit; 1 a mistake in what was typed
""",
    "plan": """\
calib-sweep plan FOLDER --budget CELLS [--target WIDTH] [--contrast A,B]    what to run next

Takes the sweep in FOLDER for a pilot, and plans for the difference of two methods: how narrow an
interval so many datasets and seeds buy, on its datasets and for a new one, and what one more
dataset, seed or task is worth. Cells of both methods count, those of the pilot included. Widths are
kept with the probability analysis.power, as a pilot knows its spread only roughly.

    --budget 40               cells: what they buy at most
    --target 0.3              half-width in points, or per cent of perplexity: what it costs
    --contrast wanda,gptq     left out: the pair with the smallest difference that is not claimed
    --metric perplexity       or accuracy, or one score as acc/boolq
    --model NAME              where there are several
    --datasets 10             plan with no more than so many

    calib-sweep plan results/default --budget 40
    calib-sweep plan results/default --target 0.3 --contrast wanda,sparsegpt analysis.power=0.9
""",
    "export": """\
calib-sweep export SET ... --to FOLDER [--license WORDS] [--push OWNER/NAME]    sets to publish

Writes calibration sets into FOLDER: token ids and text that datasets.load_dataset reads, the cards,
and a README with licence and sources. SET is the folder of a set (inspect shows it), of several, or
of a sweep: the sets that its cells used.
dataset=imported takes them back with the same hash. Paths of this machine are left out, and the
same sets give the same bytes.

    --license 'CC BY 4.0'    of the text, where the dataset does not say; needed to push
    --push me/my-sets        bring it to the hub as well; a new repository is private
    --public                 a new repository is public

    calib-sweep export results/calibration/HASH --to released
    calib-sweep export results/default --to released
    calib-sweep dataset=imported dataset.path=released
    calib-sweep dataset=imported dataset.hub_id=me/my-sets
""",
    "doctor": """\
calib-sweep doctor [FOLDER]    what this machine has, and whether a sweep can live on it

Prints versions, devices, memory, caches, whether W&B and the hub answer, which launchers can start,
and what the file system of FOLDER (results) can do. Nothing secret is in it: paste it into a bug
report.

    calib-sweep doctor results
Exit codes: 0; 1 where a sweep could not keep its results in FOLDER
""",
}
MAX_PHRASE = 68  # characters


def program_help() -> str:
    """Return the text of --help."""
    launchers = "".join(_lines(CONF / "hydra/launcher"))
    return PROGRAM.format(choices="".join(_choices()), launchers=launchers)


def _choices() -> Iterator[str]:
    """Yield the shipped YAML of every group of ours, one line each with what it says of itself."""
    for group in sorted(path for path in CONF.iterdir() if path.is_dir() and path.name != "hydra"):
        yield f"{group.name}=\n"
        yield from _lines(group)
        for inner in sorted(path for path in group.iterdir() if path.is_dir()):
            yield f"{group.name}/{inner.name}=\n"
            yield from _lines(inner)


def _lines(group: Path) -> Iterator[str]:
    for path in sorted(group.glob("*.yaml")):
        yield f"    {path.stem:<28}{phrase_of(path)}\n"


def phrase_of(path: Path) -> str:
    """Return the phrase in the first comment of a YAML: behind its name, without details."""
    comments = [line for line in path.read_text().splitlines() if line.startswith("# ")]
    first = next((line for line in comments if not line.startswith("# @package")), "# ")
    name = f"# conf/{path.relative_to(CONF).as_posix()}: "
    phrase = re.sub(r" \([^)]*\)", "", first.removeprefix(name).removeprefix("# "))
    phrase = phrase.partition("; ")[0].partition(", defaults of")[0]
    return textwrap.shorten(phrase, MAX_PHRASE, placeholder=" ...")
