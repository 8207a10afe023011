"""Check that the parts of a cell fit each other, without reading a weight."""

from typing import TYPE_CHECKING

from calib_sweep.errors import Problems, collected, require

if TYPE_CHECKING:
    from calib_sweep.activations.base import Activations
    from calib_sweep.cell import Config
    from calib_sweep.method.base import Method
    from calib_sweep.parts.interfaces import Evaluation, Model, PartialParts
    from calib_sweep.rotation.settings import Rotation


def context_length(parts: "PartialParts", problems: Problems) -> int | None:
    """Tokens that the model can attend to; None when it has no limit or could not be built."""
    return None if parts.model is None else problems.of(parts.model.context_length)


def check_model(parts: "PartialParts", problems: Problems) -> None:
    """Check that the checkpoint can be read and the model walked, by its small files."""
    if parts.model is None:
        return
    problems.of(parts.model.check_checkpoint)
    problems.of(parts.model.load_tokenizer)
    if parts.dataset is not None or parts.activations is not None:
        problems.of(_check_walk, parts.model)


def _check_walk(model: "Model") -> None:
    """Raise `ConfigError` unless the model can be compressed block by block on its inputs."""
    from calib_sweep.compression.contract import check_hollow
    from calib_sweep.model.blocks import check_owners

    skeleton = model.skeleton()
    check_owners(skeleton)
    check_hollow(skeleton)


def check_fit(parts: "PartialParts", problems: Problems) -> None:
    """Check that calibration set, method and walk fit the model and each other."""
    context = context_length(parts, problems)
    if parts.calibration is not None and context is not None:
        problems.of(
            require,
            parts.calibration.seq_len <= context,
            "calibration.seq_len",
            parts.calibration.seq_len,
            f"at most {context}, the context length of {parts.model and parts.model.path}",
            f"Example: calibration.seq_len={context}.",
        )
    if parts.model is not None and parts.evaluation is not None:
        problems.of(_check_compile, parts.model, parts.evaluation)
    if parts.model is not None:
        _check_preparations(parts.model, parts, problems)
    if parts.method is None:
        return
    if parts.walk is not None:
        problems.of(parts.walk.check_method, parts.method)
    _check_tool(parts, parts.method, problems)
    if parts.model is not None:
        _check_layers(parts.model, parts.method, problems)
        if parts.walk is not None and parts.walk.all_experts and parts.dataset is not None:
            problems.of(_check_experts, parts.model)


def _check_preparations(model: "Model", parts: "PartialParts", problems: Problems) -> None:
    if parts.rotation is not None:
        is_quantized = parts.activations is not None
        problems.of(_check_rotation, model, parts.rotation, is_quantized)
        if (method := parts.method) is not None:
            check = parts.rotation.check_method
            problems.of(lambda: check(method, is_quantized=is_quantized))
    if parts.activations is not None:
        problems.of(_check_activations, model, parts.activations)


def _check_rotation(model: "Model", rotation: "Rotation", is_quantized: bool) -> None:
    rotation.check(model.skeleton(), is_quantized=is_quantized)


def _check_activations(model: "Model", activations: "Activations") -> None:
    from calib_sweep.compression.quantized_inputs import check_quantizable
    from calib_sweep.model.blocks import enumerate_blocks

    check_quantizable(enumerate_blocks(model.skeleton()), activations)


def _check_tool(parts: "PartialParts", method: "Method", problems: Problems) -> None:
    """Check what a method of whole models needs of this machine, and of the calibration set."""
    from calib_sweep.method.whole_model import WholeModelMethod

    if not isinstance(method, WholeModelMethod):
        return
    problems.of(method.check_machine)
    activations = parts.activations and parts.activations.name
    problems.of(method.require_alone, {"activations": activations})
    if parts.calibration is not None:
        problems.of(
            require,
            parts.calibration.weighting == "tokens",
            "calibration.weighting",
            parts.calibration.weighting,
            f"tokens with {type(method).__name__}, which counts every token once",
            "Type calibration.weighting=tokens.",
        )


def _check_experts(model: "Model") -> None:
    """Refuse to show all experts what no model of this kind has."""
    names = [name for name, _, _ in model.linear_shapes()]
    require(
        any("experts" in name.split(".") for name in names),
        "walk.all_experts",
        True,
        f"false, or a mixture of experts; {model.path} has none, so that it would change nothing",
        "Type walk.all_experts=false.",
    )


def _check_compile(model: "Model", evaluation: "Evaluation") -> None:
    offload = getattr(model, "offload", None)
    require(
        not getattr(evaluation, "compile", False) or offload is None,
        "evaluation.compile",
        True,
        f"false with model.offload={offload}, whose blocks come and go",
        "Type evaluation.compile=false or model.offload=null.",
    )


def _check_layers(model: "Model", method: "Method", problems: Problems) -> None:
    # One layer of each shape is enough: blocks repeat.
    layers = problems.of(model.linear_shapes) or []
    for (num_out, num_in), name in {(o, i): name for name, o, i in reversed(layers)}.items():
        problems.of(method.check_shape, name, num_out, num_in)
    if layers:
        problems.of(_check_parts, model, method)
    if method.compares_streams and layers:
        from calib_sweep.compression.dense_stream import check_streams
        from calib_sweep.model.blocks import enumerate_blocks

        problems.of(check_streams, enumerate_blocks(model.skeleton()))
    if method.migrates_scale and layers:
        from calib_sweep.model.blocks import enumerate_blocks
        from calib_sweep.model.scaling_groups import check_scaling

        norms = method.scales_behind_norms
        blocks = enumerate_blocks(model.skeleton())
        problems.of(lambda: check_scaling(blocks, behind_norms=norms))


def _check_parts(model: "Model", method: "Method") -> None:
    """Raise `ConfigError` where the model has not the parts that the method removes."""
    from calib_sweep.method.structured import StructuredMethod

    if isinstance(method, StructuredMethod):
        from calib_sweep.compression.removable import check_structured

        check_structured(model.skeleton(), method)


def check_savable(form: str) -> None:
    """Refuse to save a model whose inputs are quantised: no checkpoint can hold that."""
    require(
        False,
        "save_model",
        form,
        "null with activations, which are no part of the weights that a checkpoint holds",
        "Type save_model=null, or activations=null.",
    )


def check_saving(parts: "PartialParts") -> None:
    """Refuse to save what a structured method makes where no checkpoint of the model holds it."""
    from calib_sweep.method.structured import StructuredMethod

    if isinstance(parts.method, StructuredMethod) and parts.model is not None:
        from calib_sweep.model.blocks import enumerate_blocks
        from calib_sweep.model.structure import parts_of

        blocks_B = [parts_of(block) for block in enumerate_blocks(parts.model.skeleton())]
        parts.method.check_saving(blocks_B)


def check_alone(parts: "PartialParts", config: "Config") -> None:
    """Refuse to keep, or to share, the walk of a method that compresses a model as a whole."""
    from calib_sweep.method.whole_model import WholeModelMethod

    if isinstance(parts.method, WholeModelMethod):
        with collected() as problems:
            problems.of(parts.method.require_alone, {"checkpoint": config.get("checkpoint")})
            problems.of(parts.method.require_one_rank, config["ranks_per_cell"])


def check_packing(parts: "PartialParts", problems: Problems) -> None:
    """Check that the method's weights can be saved as integers, and the model's layers."""
    if parts.method is None or parts.model is None:
        return
    form = problems.of(parts.method.grid_format)
    if form is None:
        return
    problems.of(parts.model.check_packable, form)
    if parts.method.migrates_scale and not parts.method.scales_behind_norms:
        from calib_sweep.model.blocks import enumerate_blocks
        from calib_sweep.model.scaling_groups import check_absorbed

        skeleton = parts.model.skeleton()
        problems.of(lambda: check_absorbed(enumerate_blocks(skeleton)))


def check_apart(parts: "PartialParts", problems: Problems) -> None:
    """Refuse to draw from text that is scored as well: what was seen is no measure of a model."""
    if parts.dataset is None or parts.evaluation is None:
        return
    scored = problems.of(parts.evaluation.sources) or {}
    names = {text: name for name, text in scored.items()}
    drawn = problems.of(parts.dataset.sources) or {}
    both = [f"{name} (scored as {names[text]})" for name, text in drawn.items() if text in names]
    problems.of(
        require,
        not both,
        "dataset",
        parts.dataset.name,
        f"text that is not scored as well, but this is: {', '.join(both[:3])}",
        "Draw from other text, or take it out of evaluation.perplexity.corpora or the tasks. Type "
        "allow_overlap=true to have it all the same: such scores are too good.",
    )
