"""The constants that two files of the lab or of the studies use, each with its source.

What a notebook varies is in the profiles; what only one file uses stands there.
"""

DELTA = 1e-5  # of every (epsilon, delta): below 1/n, as is usual; ours
SIGMA = 1e-3  # noise of a certified release: released code default
RHO = 0.1  # chance that LiSSA's bound fails: default of the public re-implementation
CHAINS, BATCH = 10, 10  # of LiSSA: released code default
LISSA_STEPS = 1000  # released code default, and the most that is run
TUNING_SEED = 1000  # in no profile; `elsewhere` of seed 0 starts from it as well
HESSIAN_SAMPLE = {"mlp": 2000, "allcnn": 128, "resnet18": 128}  # retained images, for time; ours
SCORED = 1000  # retained images on which F1 is measured, at most; ours
UNSEEN = 2000  # images that an attack tells the forgotten ones from, at most; ours
BLUR = 0.1  # largest standard deviation of the noise in a logit that training aims at
DRAWS = 3  # of the noise, for each accuracy of released weights; ours
