"""Text of --help of each verb about a grid: one that is typed, or one that is kept."""

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

Checks every cell as a run would, draws the calibration set of the largest seed of each source, and
keeps the grid in its folder; workers draw the others. Runs nothing. Takes what a run takes. A run
keeps its grid as well.

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
    --skip-failed      leave cells alone that have failed
    --trust            run code that a grid of another user names, too: a command, a class
    workers=N          processes on a CPU, instead of what the grid says
    hydra/launcher=accelerate    one worker for each GPU here; any launcher will do

    calib-sweep work results/first
    calib-sweep work results/first --for 3600
    calib-sweep work results/first hydra/launcher=accelerate
Exit codes: those of a run; 0, too, where a limit was reached and others go on
""",
    "rm": """\
calib-sweep rm [-m] KEY=VALUE ... [--force]    delete cells

Deletes the cells that the same words would run, with all that lies in their folders, and takes them
out of the grids that are kept. Finished ones only with --force. A dense cell goes only if you name
it (method=dense). A cell that somebody runs now is named and stays. What trackers have of them
stays. Words that name no cell that is there are refused.

    calib-sweep rm -m method=wanda 'seed=range(5)'
    calib-sweep rm -m method=wanda seed=3 --force
Exit codes: 0; 1 refused, nothing was deleted; 3 some were left alone
""",
    "rerun": """\
calib-sweep rerun [-m] KEY=VALUE ... [--force]    delete cells, and run them again

Deletes as rm does, then does what the same words without rerun do; what is not there only runs.
Nothing is deleted where a cell could not run. Failed cells need no rerun: the plain command runs
them again.

    calib-sweep rerun -m method=wanda seed=3 --force
Exit codes: those of a run; 1 refused, nothing was deleted
""",
}
