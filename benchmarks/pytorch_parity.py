# SPDX-License-Identifier: Apache-2.0
"""Compare train.py with plain PyTorch: python benchmarks/pytorch_parity.py --dataset_path=DIR --config_path=RECIPE

Both train DeepFM on the same encoded rows with the settings of a recipe, once for each seed, and take the checkpoint of
the lowest validation log loss.  The test split is not read.
"""

import argparse
import json
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np

from benchmarks.accuracy import peers_python, run
from src.checkpoint import ModelFolder
from src.config import load_config
from src.dataset_meta import PADDING_LABEL, DatasetMeta

KEYS = (
    "embedding_size", "hidden_sizes", "keep_prob", "embedding_keep_prob", "batch_size", "train_epochs", "learning_rate",
    "lr_schedule", "warmup_ratio", "epsilon", "l2_coef", "l2_linear_factor", "ema_decay", "eval_every_steps",
    "early_stop_patience",
)  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_path", type=pathlib.Path, required=True, help="MindRecord folder")
    parser.add_argument("--config_path", type=pathlib.Path, required=True, help="recipe")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each (default: 5)")
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("parity"), help="folder (default: parity)")
    arguments = parser.parse_args()
    work, seeds = arguments.work.resolve(), range(1, arguments.seeds + 1)
    work.mkdir(parents=True, exist_ok=True)
    config = load_config([f"--config_path={arguments.config_path}"])
    if config.l2_on != "tables" or config.lr_schedule == "plateau" or config.clip_norm or config.cowclip_ratio:
        sys.exit(f"{arguments.config_path}: plain_deepfm.py has no plateau, no clipping, and L2 of tables alone")
    (work / "settings.json").write_text(json.dumps({key: getattr(config, key) for key in KEYS}))
    save_rows(arguments.dataset_path, work / "rows.npz", has_statistics=config.value_statistics)
    found = {"train.py": [], "plain PyTorch": []}
    for seed in seeds:
        found["train.py"].append(run_ours(arguments, seed))
        found["plain PyTorch"].append(run_theirs(work, seed))
        print(seed, *(f"{name}: {runs[-1]}" for name, runs in found.items()), flush=True)
    print(table(found))


def save_rows(dataset_path, path, *, has_statistics):
    """Write the columns of the training and the validation split as arrays."""
    from src.dataset import create_dataset
    from src.distributed.process_group import ProcessGroup
    from src.training.value_statistics import fold_of_rows, learn_statistics

    data = DatasetMeta.load(dataset_path)
    statistics = learn_statistics(data, ProcessGroup()) if has_statistics else None
    arrays = {"vocabulary_size": np.array(data.vocabulary_size)}
    for split in ("train", "valid"):
        dataset = create_dataset(data, split, data.rows_per_record)
        batches = dataset.create_tuple_iterator(num_epochs=1, output_numpy=True)
        ids, *dense_values, labels = (np.concatenate(column) for column in zip(*batches))
        of_rows = np.empty((len(ids), 0), np.float32)
        if statistics is not None:
            folds = fold_of_rows(np.arange(len(ids)))[:, None]
            of_ids = statistics.of_others[folds, ids] if split == "train" else statistics.of_all[ids]
            of_rows = of_ids.reshape(len(ids), -1)
        is_real = labels[:, 0] != PADDING_LABEL
        values = dense_values[0] if dense_values else np.empty((len(ids), 0), np.float32)
        columns = {"ids": ids.astype(np.int64), "dense_values": values, "statistics": of_rows, "labels": labels[:, 0]}
        arrays |= {f"{split}_{name}": column[is_real] for name, column in columns.items()}
    np.savez(path, **arrays)


def run_ours(arguments, seed):
    """Train with train.py; return the validation metrics of the best checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        run(
            sys.executable, ROOT / "train.py", f"--config_path={arguments.config_path}", f"--seed={seed}",
            f"--dataset_path={arguments.dataset_path}", f"--ckpt_path={folder}/checkpoint", "--device_target=CPU",
            f"--loss_file_name={folder}/loss.log", f"--eval_file_name={folder}/auc.log", "--report_path=none",
        )  # fmt: skip
        metrics = ModelFolder.load(f"{folder}/checkpoint").best.metrics
    return {name: metrics[name] for name in ("auc", "log_loss")}


def run_theirs(work, seed):
    return json.loads(
        run(
            peers_python(work), ROOT / "benchmarks" / "plain_deepfm.py", work / "rows.npz", work / "settings.json", seed
        )
    )


def table(found):
    """Return the means and deviations over the seeds as a table, and the difference with its standard error."""
    lines = ["", "| | validation AUC | log loss |", "|---|---|---|"]
    runs = {name: np.array([[each["auc"], each["log_loss"]] for each in each_run]) for name, each_run in found.items()}
    for name, metrics in runs.items():
        cells = (f"{mean:.4f} ± {spread:.4f}" for mean, spread in zip(metrics.mean(0), metrics.std(0, ddof=1)))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    ours, theirs = runs.values()
    errors = np.sqrt((ours.var(0, ddof=1) + theirs.var(0, ddof=1)) / len(ours))
    cells = (f"{gap:+.4f} ± {error:.4f}" for gap, error in zip(ours.mean(0) - theirs.mean(0), errors))
    return "\n".join([*lines, f"| difference | {' | '.join(cells)} |"])


if __name__ == "__main__":
    main()
