# SPDX-License-Identifier: Apache-2.0
"""Train DeepFM: python train.py --dataset_path=./data/mindrecord --ckpt_path=./checkpoint"""

from mindspore.train import Model

from src.callback import EpochEnd, LossLog, StepProgress
from src.checkpoint import DataIdentity, ModelFolder
from src.config import load_config
from src.dataset import create_dataset
from src.dataset_meta import DatasetMeta
from src.deepfm import DeepFM, DeepFMConfig
from src.device import place, set_seed
from src.errors import exit_on_user_error
from src.training import build_train_step


def main(argv=None):
    config = load_config(argv, description="Train DeepFM on a MindRecord folder.")
    place(config.device_target, config.device_id)
    set_seed(config.seed)
    meta = DatasetMeta.load(config.dataset_path)
    train_data = create_dataset(config.dataset_path, "train", config.batch_size, training=True)
    valid_data = create_valid_data(config, meta)
    network_config = size_network(config, meta)
    folder = ModelFolder.create(config.ckpt_path, network_config, DataIdentity.of_dataset(meta), config.overwrite)
    network = DeepFM(network_config, config.seed)
    train_step = build_train_step(network, config.learning_rate, config.epsilon, config.l2_coef)
    callbacks = [
        LossLog(config.loss_file_name, config.log_every),
        StepProgress(config.train_epochs, train_data.get_dataset_size(), config.batch_size, config.log_every),
        EpochEnd(network, folder, valid_data, config.eval_file_name),
    ]
    Model(train_step).train(config.train_epochs, train_data, callbacks, dataset_sink_mode=False)
    print(f"best checkpoint: {folder.path / folder.best.file}")


def create_valid_data(config, meta):
    """Return the valid split, or None if it is not to be scored or has no rows."""
    if config.do_eval and meta.splits["valid"].rows:
        return create_dataset(config.dataset_path, "valid", config.batch_size)
    if config.do_eval:
        print("no valid split, so no scores while training; eval.py scores the test split")
    return None


def size_network(config, meta):
    """Return the sizes that the data and the settings ask for."""
    return DeepFMConfig(
        meta.vocabulary_size,
        len(meta.sparse_fields),
        len(meta.dense_fields),
        config.embedding_size,
        config.hidden_sizes,
        config.keep_prob,
    )


if __name__ == "__main__":
    exit_on_user_error(main)
