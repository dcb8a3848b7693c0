"""dlk-core's table of components: names, and where config and class live. Imports nothing heavy."""

from __future__ import annotations

from dlk.plugin import Component, hookimpl

API = 1


@hookimpl
def dlk_components() -> list[Component]:
    """Return the rows of all families in core."""
    return [*_engine(), *_data(), *_nn(), *_training(), *_postprocessing()]


def _engine() -> list[Component]:
    callback = "dlk.callback"
    return [
        Component("fit", "", config="dlk.fit:FitConfig", help="the root of fit.jsonc"),
        Component(
            "trainer",
            "lightning",
            config="dlk.trainer.configs:LightningTrainerConfig",
            cls="dlk.trainer.lightning:LightningTrainer",
            help="PyTorch Lightning's Trainer with its options",
        ),
        Component(
            "imodel",
            "default",
            config="dlk.imodel.configs:DefaultIModelConfig",
            cls="dlk.imodel.default:DefaultIModel",
            help="model, loss, postprocessor, optimizer and scheduler together",
        ),
        Component(
            "callback",
            "checkpoint",
            config=f"{callback}.configs:CheckpointConfig",
            cls=f"{callback}.checkpoint:Checkpoint",
            help="keeps the best checkpoints and the last",
        ),
        Component(
            "callback",
            "early_stop",
            config=f"{callback}.configs:EarlyStopConfig",
            cls=f"{callback}.early_stop:EarlyStop",
            help="stops when a metric no longer improves",
        ),
        Component(
            "callback",
            "lr_monitor",
            config=f"{callback}.configs:LRMonitorConfig",
            cls=f"{callback}.lr_monitor:LRMonitor",
            help="logs learning rates",
        ),
        Component(
            "callback",
            "progress_bar",
            config=f"{callback}.configs:ProgressBarConfig",
            cls=f"{callback}.progress_bar:make_progress_bar",
            help="shows progress on a terminal",
            aliases=("prograss_bar",),
        ),
        Component(
            "callback",
            "resume",
            config=f"{callback}.configs:ResumeConfig",
            cls=f"{callback}.resume:Resume",
            help="says when the state is kept that a stopped run goes on from",
        ),
        Component(
            "callback",
            "weight_average",
            config=f"{callback}.configs:WeightAverageConfig",
            cls=f"{callback}.weight_average:WeightAverage",
            help="averages the weights over training (EMA, SWA)",
        ),
    ]


def _data() -> list[Component]:
    steps, data = "dlk.data.subprocessor", "dlk.data"
    return [
        Component(
            "processor",
            "default",
            config=f"{data}.processor.configs:DefaultProcessorConfig",
            cls=f"{data}.processor.default:DefaultProcessor",
            help="runs subprocessors in order and stores what they write",
        ),
        Component(
            "subprocessor",
            "fast_tokenizer",
            config=f"{steps}.configs:FastTokenizerConfig",
            cls=f"{steps}.fast_tokenizer:FastTokenizer",
            help="texts, or pairs of texts, to ids by a tokenizers JSON file",
            needs=("tokenizers",),
        ),
        Component(
            "subprocessor",
            "token_gather",
            config=f"{steps}.configs:TokenGatherConfig",
            cls=f"{steps}.token_gather:TokenGather",
            help="learns a vocabulary from columns of the training split",
        ),
        Component(
            "subprocessor",
            "token2id",
            config=f"{steps}.configs:Token2IdConfig",
            cls=f"{steps}.token2id:Token2Id",
            help="words to ids by a learnt vocabulary",
        ),
        Component(
            "subprocessor",
            "token2id-label",
            config=f"{steps}.configs:Token2IdLabelConfig",
            cls=f"{steps}.token2id:Token2Id",
            help="labels to ids, where the truth is known",
        ),
        Component(
            "dataset",
            "default",
            config=f"{data}.dataset.configs:DefaultDatasetConfig",
            cls=f"{data}.dataset.default:DefaultDataset",
            help="columns by name and type",
            needs=("numpy",),
        ),
        Component(
            "data_collate",
            "default",
            config=f"{data}.data_collate.configs:DefaultDataCollateConfig",
            cls=f"{data}.data_collate.default:DefaultDataCollate",
            help="pads whole batches and makes masks",
            needs=("torch",),
        ),
        Component(
            "datamodule",
            "default",
            config=f"{data}.datamodule.configs:DefaultDataModuleConfig",
            cls=f"{data}.datamodule.default:DefaultDataModule",
            help="batches of processed splits, grouped by length for training",
            needs=("torch",),
        ),
    ]


def _nn() -> list[Component]:
    return [
        Component(
            "embedding",
            "random",
            config="dlk.nn.layer.embedding.configs:RandomEmbeddingConfig",
            cls="dlk.nn.layer.embedding.random:RandomEmbedding",
            help="vectors by id, learnt from random start values",
            needs=("torch",),
        ),
        Component(
            "embedding",
            "static",
            config="dlk.nn.layer.embedding.configs:StaticEmbeddingConfig",
            cls="dlk.nn.layer.embedding.static:StaticEmbedding",
            help="vectors by id, read from a file",
            needs=("torch",),
        ),
        Component(
            "embedding",
            "identity",
            config="dlk.nn.layer.embedding.configs:IdentityEmbeddingConfig",
            cls="dlk.nn.layer.embedding.identity:IdentityEmbedding",
            help="nothing: the batch holds vectors already",
            needs=("torch",),
        ),
        Component(
            "encoder",
            "identity",
            config="dlk.nn.layer.encoder.configs:IdentityEncoderConfig",
            cls="dlk.nn.layer.encoder.identity:IdentityEncoder",
            help="nothing: vectors as they are",
            needs=("torch",),
        ),
        Component(
            "encoder",
            "linear",
            config="dlk.nn.layer.encoder.configs:LinearEncoderConfig",
            cls="dlk.nn.layer.encoder.linear:LinearEncoder",
            help="a linear map of each vector",
            needs=("torch",),
        ),
        Component(
            "encoder",
            "lstm",
            config="dlk.nn.layer.encoder.configs:LSTMEncoderConfig",
            cls="dlk.nn.layer.encoder.lstm:LSTMEncoder",
            help="an LSTM that never reads padding",
            needs=("torch",),
        ),
        Component(
            "encoder",
            "transformer",
            config="dlk.nn.layer.encoder.configs:TransformerEncoderConfig",
            cls="dlk.nn.layer.encoder.transformer:TransformerEncoder",
            help="transformer blocks: attention among the kept positions",
            needs=("torch",),
        ),
        Component(
            "decoder",
            "identity",
            config="dlk.nn.layer.decoder.configs:IdentityDecoderConfig",
            cls="dlk.nn.layer.decoder.identity:IdentityDecoder",
            help="nothing: what was written so far is the output",
            needs=("torch",),
        ),
        Component(
            "decoder",
            "linear",
            config="dlk.nn.layer.decoder.configs:LinearDecoderConfig",
            cls="dlk.nn.layer.decoder.linear:LinearDecoder",
            help="scores of each vector, or of one pooled from each row",
            needs=("torch",),
        ),
        Component(
            "decoder",
            "regression",
            config="dlk.nn.layer.decoder.configs:RegressionDecoderConfig",
            cls="dlk.nn.layer.decoder.regression:RegressionDecoder",
            help="a number of each row, in the label's own unit",
            needs=("torch",),
        ),
        Component(
            "decoder",
            "multi_decoder",
            config="dlk.nn.layer.decoder.configs:MultiDecoderConfig",
            cls="dlk.nn.layer.decoder.multi_decoder:MultiDecoder",
            help="several decoders on the same vectors",
            needs=("torch",),
        ),
        Component(
            "model",
            "basic",
            config="dlk.nn.model.configs:BasicModelConfig",
            cls="dlk.nn.model.basic:BasicModel",
            help="embedding, encoder and decoder, one after the other",
            needs=("torch",),
        ),
        Component(
            "model",
            "bi_encoder",
            config="dlk.nn.model.configs:BiEncoderModelConfig",
            cls="dlk.nn.model.bi_encoder:BiEncoderModel",
            help="two inputs through one encoder, compared by their cosine",
            needs=("torch",),
        ),
        Component(
            "initmethod",
            "default",
            config="dlk.nn.initmethod.configs:DefaultInitConfig",
            cls="dlk.nn.initmethod.default:DefaultInit",
            help="start values by the kind of layer",
            needs=("torch",),
        ),
        Component(
            "initmethod",
            "range_norm",
            config="dlk.nn.initmethod.configs:RangeNormInitConfig",
            cls="dlk.nn.initmethod.range_norm:RangeNormInit",
            help="weights from a normal distribution",
            needs=("torch",),
        ),
        Component(
            "initmethod",
            "range_uniform",
            config="dlk.nn.initmethod.configs:RangeUniformInitConfig",
            cls="dlk.nn.initmethod.range_uniform:RangeUniformInit",
            help="weights from a uniform distribution",
            needs=("torch",),
        ),
    ]


def _training() -> list[Component]:
    return [
        Component(
            "loss",
            "cross_entropy",
            config="dlk.nn.loss.configs:CrossEntropyLossConfig",
            cls="dlk.nn.loss.cross_entropy:CrossEntropyLoss",
            help="cross entropy of scores and class ids",
            needs=("torch",),
        ),
        Component(
            "loss",
            "focal",
            config="dlk.nn.loss.configs:FocalLossConfig",
            cls="dlk.nn.loss.focal:FocalLoss",
            help="cross entropy that fades easy examples",
            aliases=("focal_loss",),
            needs=("torch",),
        ),
        Component(
            "loss",
            "bce",
            config="dlk.nn.loss.configs:BCELossConfig",
            cls="dlk.nn.loss.bce:BCELoss",
            help="binary cross entropy of scores",
            needs=("torch",),
        ),
        Component(
            "loss",
            "mse",
            config="dlk.nn.loss.configs:MSELossConfig",
            cls="dlk.nn.loss.mse:MSELoss",
            help="mean squared error",
            needs=("torch",),
        ),
        Component(
            "loss",
            "info_nce",
            config="dlk.nn.loss.configs:InfoNCELossConfig",
            cls="dlk.nn.loss.info_nce:InfoNCELoss",
            help="tells each vector's partner from the other rows of the batch",
            needs=("torch",),
        ),
        Component(
            "loss",
            "identity",
            config="dlk.nn.loss.configs:IdentityLossConfig",
            cls="dlk.nn.loss.identity:IdentityLoss",
            help="the loss that the model itself wrote",
            needs=("torch",),
        ),
        Component(
            "loss",
            "multi_loss",
            config="dlk.nn.loss.configs:MultiLossConfig",
            cls="dlk.nn.loss.multi_loss:MultiLoss",
            help="several losses at once",
            needs=("torch",),
        ),
        Component(
            "optimizer",
            "adamw",
            config="dlk.optimizer.configs:AdamWOptimizerConfig",
            cls="dlk.optimizer.adamw:AdamWOptimizer",
            help="Adam with weight decay apart from the gradient",
            needs=("torch",),
        ),
        Component(
            "optimizer",
            "sgd",
            config="dlk.optimizer.configs:SGDOptimizerConfig",
            cls="dlk.optimizer.sgd:SGDOptimizer",
            help="stochastic gradient descent, with momentum",
            needs=("torch",),
        ),
        Component(
            "scheduler",
            "constant",
            config="dlk.scheduler.configs:ConstantSchedulerConfig",
            cls="dlk.scheduler.constant:ConstantScheduler",
            help="the same rate all along",
            needs=("torch",),
        ),
        Component(
            "scheduler",
            "constant_warmup",
            config="dlk.scheduler.configs:ConstantWarmupSchedulerConfig",
            cls="dlk.scheduler.constant_warmup:ConstantWarmupScheduler",
            help="linear rise, then the same rate",
            needs=("torch",),
        ),
        Component(
            "scheduler",
            "linear_warmup",
            config="dlk.scheduler.configs:LinearWarmupSchedulerConfig",
            cls="dlk.scheduler.linear_warmup:LinearWarmupScheduler",
            help="linear rise, then linear fall to zero",
            needs=("torch",),
        ),
        Component(
            "scheduler",
            "cosine_warmup",
            config="dlk.scheduler.configs:CosineWarmupSchedulerConfig",
            cls="dlk.scheduler.cosine_warmup:CosineWarmupScheduler",
            help="linear rise, then along a cosine",
            needs=("torch",),
        ),
    ]


def _postprocessing() -> list[Component]:
    configs = "dlk.postprocessor.configs"
    return [
        Component(
            "postprocessor",
            "identity",
            config=f"{configs}:IdentityConfig",
            cls="dlk.postprocessor.identity:Identity",
            help="gives the named outputs as they are and measures nothing",
        ),
    ]
