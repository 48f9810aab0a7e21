"""Judge an unlearned model: metrics, attacks, audits, and other methods to compare it with.

metrics       accuracy, gap to retraining, Tug-of-War, distances
baselines     fine-tuning, negative gradient, NegGrad+
fisher        Fisher forgetting
lcodec        L-CODEC: a Newton step on the parameters that matter to the forget set
attacks       membership inference
audit         claimed, realised and audited epsilon
peers         the certified methods that the paper builds on

The list of baselines is ours: no public source for the paper's own list was found, and its
released code has none. Each is written from its authors' description and says where it deviates.
"""
