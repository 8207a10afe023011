"""Text of --help of each verb about what is there: folders of sweeps, sets, scores, a machine."""

VERBS = {
    "status": """\
calib-sweep status FOLDER    how a sweep gets on: cells, jobs, the time that is left, failures

Reads FOLDER (results_dir/sweep_name) alone, so it may be asked on any machine that sees it, by
whoever may read it. A cell is done, failed, running (the process that claims it lives, or beats
from another host), lost (that is gone; the next worker takes the cell over), or open (all others).
Jobs are told where SLURM can be asked. Nothing is left behind.

    calib-sweep status results/default
    watch -n 60 calib-sweep status results/default
Exit codes: 0 all cells done; 3 not yet, or some failed
""",
    "ls": """\
calib-sweep ls FOLDER [KEY=VALUE,VALUE ...] [--metric NAME,NAME] [--json]    cells with their scores

Lists the cells in FOLDER (results_dir/sweep_name): those that have a record, and those of kept
grids that have none yet; of settings those in which cells differ. KEY is state (done, failed,
running, lost or open, as status has them), model, method, dataset, seed, replicate, or a setting
(method.sparsity); a value may be a pattern (gpt*). One that no cell of the sweep has is told on
standard error.

    --metric acc/boolq    these scores, instead of the two means
    --json                one line of JSON for each cell, with all scores or those of --metric

    calib-sweep ls results/default
    calib-sweep ls results/default state=failed
    calib-sweep ls results/default method=wanda,sparsegpt seed=0 --metric ppl/wikitext2,acc/boolq
Exit codes: 0, however many cells there are; 1 refused; 3 a grid that is kept cannot be read
""",
    "merge": """\
calib-sweep merge FOLDER ... --into FOLDER    bring cells of several machines into one folder

Copies the finished cells of each folder (results_dir/sweep_name), their calibration sets, and the
grids that are kept. What is in the last folder is never overwritten: a cell with the same scores is
left out, one with others is a conflict, told with both. A cell that somebody runs there now is left
alone. Files that are not those that their record was written with are refused. The last folder is
one sweep's alone: none inside another sweep, and none that holds sweeps. Type it again at any time:
it goes on.

    calib-sweep merge results/a results/b --into results/both
    calib-sweep work results/both        what no machine has finished
Exit codes: 0; 1 refused; 3 conflicts, damage, or cells that were left alone
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
