"""A published checkpoint becomes a run that can be restored, transferred from and pruned."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from userrep.errors import DataError, UsageError
from userrep.interop import from_state_dict
from userrep.interop.files import read_checkpoint
from userrep.methods.patch import Patch, count_parameters
from userrep.run import open_run
from userrep.sequences.store import Prepared
from userrep.sequences.vocab import RESERVED
from userrep.stages import import_, prune, transfer
from userrep.stages.request import Request
from userrep.stages.restore import restore

GOLDEN = Path(__file__).parents[1] / "golden"
FILES = {
    "tenrec-nextitnet": GOLDEN / "nextitnet_causal.npz",
    "tenrec-peterrec": GOLDEN / "peterrec_parallel_noskip.npz",
}
ROWS = 51  # of the golden tables; row 0 is padding


def write_items(path: Path, data: Prepared, rows: int = ROWS) -> dict[int, int]:
    """Give the golden rows, backwards, to the data set's first items but one, and one to a stranger."""
    names = data.sequences().item_ids
    pairs = {rank: rows - 1 - rank for rank in range(rows - 2)}
    lines = ["raw_item,row", *(f"{names[rank]},{row}" for rank, row in pairs.items()), "stranger,1"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {rank + RESERVED: row for rank, row in pairs.items()}


def ask(kind: str, data_dir: Path, run: Path, *overrides: str, **extra: object) -> Request:
    given = {"checkpoint": FILES.get(kind), "kind": kind, "shape": ("dilations=[1,4,1,4]",), **extra}
    return Request(("dataset=synthetic", *overrides), run=run, data_dir=data_dir, runs_dir=run.parent, extra=given)


@pytest.mark.parametrize("kind", FILES)
def test_an_imported_run_encodes_our_ids_as_the_checkpoint_encodes_its_rows(
    kind: str, workplace: Path, prepared_data_dir: Path, prepared: Prepared
) -> None:
    ours = write_items(workplace / "items.csv", prepared)
    answer = import_.run(ask(kind, prepared_data_dir, workplace / "base", items=workplace / "items.csv"))
    items = prepared.sequences().vocab_size - RESERVED
    assert answer["items"] == {"missing": items - len(ours), "unused": 1}
    assert {"ndcg@10", "hr@10"} <= answer["metrics"].keys()

    encoder, objective = restore(open_run(workplace / "base"), prepared)
    published = from_state_dict(kind, read_checkpoint(FILES[kind]), dilations=[1, 4, 1, 4])
    ids = torch.tensor([list(ours)[3:20]])
    rows = torch.tensor([[ours[int(item)] for item in ids[0]]])
    with torch.inference_mode():
        torch.testing.assert_close(encoder(ids), published(rows))
    head = read_checkpoint(FILES[kind])["final_layer.weight"]
    state = objective.state_dict()
    assert torch.equal(state["table"][ids[0]], head[rows[0]])
    assert state["bias"][-1] == read_checkpoint(FILES[kind])["final_layer.bias"][1:].min()


@pytest.mark.parametrize("kind", FILES)
def test_an_imported_run_is_transferred_from_with_patches_on_patches(
    kind: str, workplace: Path, prepared_data_dir: Path, prepared: Prepared
) -> None:
    write_items(workplace / "items.csv", prepared)
    import_.run(ask(kind, prepared_data_dir, workplace / "base", items=workplace / "items.csv"))
    request = Request(
        ("method=peterrec", "task=gender", "trainer.epochs=1"),
        run=workplace / "child", base=workplace / "base", data_dir=prepared_data_dir, runs_dir=workplace,
    )  # fmt: skip
    answer = transfer.run(request)
    assert answer["test_users_seen"] == 1.0  # whom a foreign checkpoint has seen is not known
    encoder, _ = restore(open_run(workplace / "child"), prepared)
    patches = sum(isinstance(module, Patch) for module in encoder.modules())
    assert patches == (16 if kind == "tenrec-peterrec" else 8)
    head = 2 * 16 + 2
    assert answer["trainable"] == 8 * count_parameters(16, 2) + head  # the checkpoint's own stay frozen


def test_a_pruned_import_is_exported_with_its_patches(
    workplace: Path, prepared_data_dir: Path, prepared: Prepared
) -> None:
    write_items(workplace / "items.csv", prepared)
    import_.run(ask("tenrec-peterrec", prepared_data_dir, workplace / "base", items=workplace / "items.csv"))
    request = Request(
        ("trainer.epochs=1",),
        run=workplace / "pruned", base=workplace / "base", data_dir=prepared_data_dir, runs_dir=workplace,
        extra={"keep": 0.5, "export": workplace / "plain"},
    )  # fmt: skip
    prune.run(request)
    pruned, _ = restore(open_run(workplace / "pruned"), prepared)
    plain, _ = restore(open_run(workplace / "plain"), prepared)
    items = torch.arange(RESERVED, RESERVED + 12)[None]
    with torch.inference_mode():
        assert torch.equal(pruned(items), plain(items))


def test_rows_may_be_our_ids_where_their_number_agrees(
    workplace: Path, prepared_data_dir: Path, prepared: Prepared, capfd: pytest.CaptureFixture[str]
) -> None:
    size = prepared.sequences().vocab_size
    state = read_checkpoint(FILES["tenrec-nextitnet"])
    table = torch.randn(size, 16)
    wide = state | {
        "item_embedding.weight": table,
        "final_layer.weight": torch.randn(size, 16),
        "final_layer.bias": torch.zeros(size),
    }
    save_file(wide, workplace / "wide.safetensors")
    checkpoint = workplace / "wide.safetensors"
    answer = import_.run(ask("tenrec-nextitnet", prepared_data_dir, workplace / "base", checkpoint=checkpoint))
    assert answer["items"] == {"missing": 0, "unused": 0}
    assert "give --items FILE" in capfd.readouterr().err
    encoder, _ = restore(open_run(workplace / "base"), prepared)
    assert torch.equal(encoder.item_vectors(), table)


def test_another_number_of_rows_needs_a_map(workplace: Path, prepared_data_dir: Path) -> None:
    with pytest.raises(DataError, match="51 rows") as caught:
        import_.run(ask("tenrec-nextitnet", prepared_data_dir, workplace / "base"))
    assert "--items FILE" in caught.value.hint
    assert not (workplace / "base").exists()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("item,row\n0,1", "does not begin with"),
        ("raw_item,row\nA,x", "line 2"),
        ("raw_item,row\nA,51", "line 2: row 51"),
        ("raw_item,row\nA,0", "line 2: row 0"),
        ("raw_item,row\nA,3\nB,3", "line 3: row 3 stands in line 2"),
        ("raw_item,row\nstranger,3", "names no item"),
        ("", "does not begin with"),
    ],
)
def test_a_bad_map_is_refused_with_its_line(workplace: Path, prepared_data_dir: Path, lines: str, message: str) -> None:
    (workplace / "items.csv").write_text(lines, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        import_.run(ask("tenrec-nextitnet", prepared_data_dir, workplace / "base", items=workplace / "items.csv"))
    assert not (workplace / "base").exists()


def test_the_same_import_again_does_nothing_and_another_is_refused(
    workplace: Path, prepared_data_dir: Path, prepared: Prepared
) -> None:
    write_items(workplace / "items.csv", prepared)
    request = ask("tenrec-nextitnet", prepared_data_dir, workplace / "base", items=workplace / "items.csv")
    first = import_.run(request)
    written = (workplace / "base" / "model.safetensors").stat().st_mtime_ns
    assert import_.run(request) == first
    assert (workplace / "base" / "model.safetensors").stat().st_mtime_ns == written
    other = ask(
        "tenrec-nextitnet", prepared_data_dir, workplace / "base",
        items=workplace / "items.csv", shape=("dilations=[1,2,4,8]",),
    )  # fmt: skip
    with pytest.raises(UsageError, match="dilations"):
        import_.run(other)


def test_a_shape_that_cannot_be_read_is_a_usage_error() -> None:
    assert import_.parse_shape(["dilations=[1, 4]", "kernel_size=3"]) == {
        "dilations": [1, 4],
        "kernel_size": 3,
    }
    for text in ("dilations", "dilations=[1,"):
        with pytest.raises(UsageError, match="cannot read --shape"):
            import_.parse_shape([text])


def test_missing_items_start_small_and_known_ones_are_exact(
    workplace: Path, prepared_data_dir: Path, prepared: Prepared
) -> None:
    ours = write_items(workplace / "items.csv", prepared)
    import_.run(ask("tenrec-nextitnet", prepared_data_dir, workplace / "base", items=workplace / "items.csv"))
    encoder, _ = restore(open_run(workplace / "base"), prepared)
    vectors = encoder.item_vectors().detach().numpy()
    theirs = read_checkpoint(FILES["tenrec-nextitnet"])["item_embedding.weight"].numpy()
    assert np.array_equal(vectors[list(ours)], theirs[list(ours.values())])
    missing = [item for item in range(RESERVED, len(vectors)) if item not in ours]
    assert np.abs(vectors[missing]).max() <= 0.04
    assert np.abs(vectors[missing]).min(axis=1).max() > 0


def test_a_sasrec_becomes_a_run_in_its_compatibility_mode(
    workplace: Path, prepared_data_dir: Path, prepared: Prepared
) -> None:
    checkpoint, shape = GOLDEN / "sasrec_postnorm.npz", {"num_heads": 2, "norm_first": False}
    ours = write_items(workplace / "items.csv", prepared)
    request = ask(
        "sasrec-pytorch", prepared_data_dir, workplace / "base", "protocol.history=14", checkpoint=checkpoint,
        items=workplace / "items.csv", shape=("num_heads=2", "norm_first=false"),
    )  # fmt: skip
    import_.run(request)
    encoder, _ = restore(open_run(workplace / "base"), prepared)
    published = from_state_dict("sasrec-pytorch", read_checkpoint(checkpoint), **shape)
    ids = torch.tensor([[0, 0, *list(ours)[3:15]]])
    rows = torch.tensor([[ours.get(int(item), 0) for item in ids[0]]])
    with torch.inference_mode():
        torch.testing.assert_close(encoder(ids), published(rows))
    child = Request(
        ("method=peterrec", "task=gender", "trainer.epochs=1", "protocol.history=14", "trainer.length=14"),
        run=workplace / "child", base=workplace / "base", data_dir=prepared_data_dir, runs_dir=workplace,
    )  # fmt: skip
    transfer.run(child)
    assert open_run(workplace / "child").record["metrics"]
