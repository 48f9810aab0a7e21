"""Does a test notice? Puts one small error at a time into the code and runs its tests.

    make mutants                       all of them
    make mutants ONLY=bounds.py        those of one file

Each error is one that a person could make and that would make a certificate or a verdict wrong. A
copy of the package is changed, never the package itself. What no test notices is listed at the end:
write the test, or, where no test can tell, give the mutant its `reason`.
"""

from __future__ import annotations

import argparse
import compileall
import importlib
import os
import py_compile
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 300  # seconds; a mutant that runs longer counts as noticed
ENOUGH = 0.95  # share that must be noticed
ENVIRONMENT = {
    "UNLEARNLIB_PROFILE": "smoke", "UNLEARNLIB_PROGRESS": "0", "UNLEARNLIB_WORKERS": "1",
    "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE",
    "UNLEARNLIB_THREADS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}  # fmt: skip
PASSED = "passed"
# Imported once, before anything is forked: what takes seconds to load and is not ours.
HEAVY = ("dp_accounting", "hypothesis.strategies", "matplotlib.pyplot", "mlxtend.data", "mpmath",
         "numpy", "opendp.prelude", "pandas", "pytest", "safetensors.torch", "scipy.optimize",
         "scipy.sparse.linalg", "scipy.special", "scipy.stats", "sklearn.linear_model", "torch",
         "torch.func", "torchvision")  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One error: `old`, which stands once in the source, becomes `new`.

    source   a file of the package, or of notebooks/: studies/...
    tests    test files that should notice; those of TESTS by default
    reason   why no test can tell, where none can
    """

    source: str
    old: str
    new: str
    tests: str = ""
    reason: str = ""

    def files(self) -> list[str]:
        """Paths of its test files, the quickest first; those of studies are in a folder too."""
        named = map(Path, (self.tests or TESTS[self.source]).split())
        return [f"tests/{name.parent / f'test_{name.name}.py'}" for name in named]

    def path(self, root: Path) -> Path:
        """Its source in the repository, or in a copy of it."""
        home = "notebooks" if self.source.startswith("studies/") else "unlearnlib"
        return root / home / self.source

    def applied(self, text: str) -> str:
        """The source with the error in it; ValueError where it has no place, or is no Python."""
        if text.count(self.old) != 1:
            raise ValueError(f"{self.source}: {self.old!r} stands there {text.count(self.old)}x")
        changed = text.replace(self.old, self.new)
        try:
            compile(changed, self.source, "exec")
        except SyntaxError as error:
            raise ValueError(f"{self.source}: {self.old!r} -> {self.new!r}: {error}") from error
        return changed

    def __str__(self) -> str:
        old, new = (" ".join(text.split()) for text in (self.old, self.new))
        return f"{self.source}: {old} -> {new or '(nothing)'}"


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant: the test that noticed, "" where none did, and how long it took."""

    by: str
    seconds: float


TESTS = {
    "certificate.py": "certificate unlearn strongly_convex",
    "evidence.py": "refutation unlearn",
    "unlearn.py": "refutation unlearn sequential",
    "strongly_convex.py": "strongly_convex",
    "refinement.py": "refinement strongly_convex",
    "sequential.py": "sequential strongly_convex refutation",
    "bounds.py": "bounds",
    "noise.py": "noise",
    "lab/convex_network.py": "convex_network preconditioners",
    "newton.py": "newton",
    "cg.py": "cg",
    "lissa.py": "lissa",
    "linearised.py": "linearised objective",
    "checks.py": "inputs objective",
    "objective.py": "objective inputs",
    "projected_sgd.py": "projected_sgd checkpoint device",
    "trainees.py": "processes",
    "checkpoint.py": "checkpoint",
    "precision.py": "device",
    "draws.py": "device",
    "lab/device.py": "device",
    "batchnorm.py": "batchnorm",
    "lab/files.py": "files",
    "lab/store.py": "store checkpoint",
    "lab/experiments.py": "experiments requests",
    "lab/methods.py": "methods",
    "lab/step.py": "step",
    "lab/curvature.py": "curvature",
    "lab/stationary.py": "stationary",
    "lab/proved.py": "proved",
    "lab/preconditioners.py": "preconditioners",
    "lab/features.py": "features",
    "lab/patches.py": "patches",
    "lab/drawn.py": "drawn",
    "lab/backgrounds.py": "backgrounds",
    "lab/scattering.py": "scattering",
    "verify.py": "verify",
    "by_hand.py": "verify",
    "evaluation/audit.py": "audit",
    "evaluation/peers/interpolation.py": "frontier",
    "evaluation/peers/clipped_gradients.py": "frontier",
    "evaluation/peers/clipped_models.py": "frontier",
    "evaluation/peers/rewind.py": "frontier",
    "evaluation/peers/noisy_sgd.py": "frontier",
    "evaluation/peers/dp_sgd.py": "frontier",
    "lab/verdicts.py": "nulls verdicts",
    "lab/nulls.py": "nulls",
    "lab/contenders.py": "contenders",
    "evaluation/equivalence.py": "equivalence",
    "evaluation/klom.py": "standards",
    "evaluation/ulira.py": "standards",
    "evaluation/challenge.py": "standards",
    "studies/nb04_utility/scores.py": "studies/nb04_utility",
    "studies/nb05_membership_inference/shadows.py": "studies/nb05_membership_inference",
    "studies/nb11_budget_and_utility/sabotage.py": "studies/nb11_sabotage",
    "studies/nb13_frontier/balls.py": "studies/nb13_frontier",
    "studies/nb13_frontier/descents.py": "studies/nb13_frontier",
    "studies/nb13_frontier/private.py": "studies/nb13_frontier",
    "studies/nb13_frontier/curves.py": "studies/nb13_frontier",
    "studies/nb13_frontier/way.py": "studies/nb13_frontier",
    "studies/nb13_frontier/worlds.py": "studies/nb13_frontier",
    "evaluation/peers/neel.py": "peers",
    "evaluation/peers/sekhari.py": "peers",
    "studies/nb13_frontier/epsilons.py": "studies/nb13_frontier",
    "studies/nb13_frontier/tuning.py": "studies/nb13_frontier",
    "studies/nb13_frontier/choice.py": "studies/nb13_frontier",
    "studies/nb13_frontier/audits.py": "studies/nb13_frontier",
    "studies/nb13_frontier/forerunner_worlds.py": "studies/nb13_frontier",
    "evaluation/peers/convex.py": "convex_network peers",
    "studies/nb03_certificate_and_noise/bound.py": "studies/nb03_bound",
    "studies/nb03_certificate_and_noise/exhaustion.py": "studies/nb03_exhaustion",
    "studies/nb09_nonconvergence.py": "studies/nb09_nonconvergence",
    "studies/nb10_sequential.py": "studies/nb10_sequential",
}

MUTANTS = [
    # what the card says
    Mutant("certificate.py", "self.holds != VOID and ", ""),
    Mutant("certificate.py", ' - {("G", "chosen")}', ' - {("G", "assumed")}'),
    Mutant("certificate.py", 'mark == "proved" for', 'mark != "assumed" for'),
    Mutant("certificate.py", "bound += bounds.solver", "bounds.solver"),
    Mutant("certificate.py", "THE_BALL, PROVED)", "THE_BALL, _holds(constants.used()))"),
    Mutant("certificate.py", "bound(G.value, mu.value, G.value)", "bound(G.value, mu.value)",
           "strongly_convex"),
    Mutant("certificate.py", "_holds(constants.behind_convexity())", '_holds({"lam_min": mu})',
           "strongly_convex"),
    Mutant("certificate.py", "with_rounding(s.value)", "s.value", "strongly_convex"),
    Mutant("certificate.py", "gaussian_sigma(hidden, epsilon, delta)",
           'gaussian_sigma(hidden, epsilon, delta, "classical-unchecked")'),
    Mutant("certificate.py", "epsilon(hidden, sigma", "epsilon(hidden / 2, sigma"),
    Mutant("certificate.py", '"withheld" if q.provenance == "measured" else q.value', "q.value"),
    Mutant("certificate.py", "self.sensitivity.value < 2 * self.C", "self.useful"),
    Mutant("certificate.py", "value=-L.value", "value=0.0"),
    Mutant("certificate.py", "if name == \"lam_min\" else 0,", ","),
    # what the data can refute
    Mutant("evidence.py", "F_r.hvp(w, x) + lam * x", "F_r.hvp(w, x)"),
    Mutant("evidence.py", "RESIDUAL: left / size if size", "RESIDUAL: 0.0 if size"),
    Mutant("evidence.py", "F_r.n * b + F_u.n *", "F_u.n * b + F_r.n *"),
    Mutant("evidence.py", "image @ x / (x @ x)", "b @ x / (x @ x)"),
    Mutant("evidence.py", "not whole <= G", "not whole <= 10 * G"),
    Mutant("evidence.py", "stationary and not", "not", "refutation unlearn sequential"),
    Mutant("evidence.py", "gradient_bound(C, L, G)", "gradient_bound(C, L)"),
    Mutant("evidence.py", "met + slack >= lam + lam_min", "met + slack >= lam_min"),
    Mutant("evidence.py", "met + slack >= lam", "met >= lam"),
    Mutant("evidence.py", "met - slack <= lam + L", "met - slack <= L"),
    Mutant("evidence.py", "met - slack <= lam", "met <= lam"),
    Mutant("evidence.py", "reach <= C + bound", "reach <= 2 * C + bound"),
    Mutant("evidence.py", "left <= G + L * bound", "left <= G + L * C"),
    Mutant("evidence.py", "_bound(left, mu, G)", "_bound(left, mu)"),
    Mutant("evidence.py", "bounds.strong_convexity_bound(left, mu, G)", "0.0"),
    Mutant("evidence.py", "Delta < 2**10 *", "Delta < 0 *"),
    Mutant("evidence.py", "residual <= tol,", "residual <= 10 * tol,"),
    Mutant("evidence.py", 'q.provenance == "measured"', 'q.provenance == "assumed"'),
    Mutant("evidence.py", "LEFT: float(F_r", "LEFT: 0 * float(F_r"),
    Mutant("evidence.py", "REACH: float(torch", "REACH: 0 * float(torch"),
    # one request
    Mutant("unlearn.py", "project(w - F.check(solution.x.flatten(), \"the solver's x\"), C)",
           "w - solution.x"),
    Mutant("unlearn.py", "b = retained_gradient(F, w, rows, whole)", "b = F.gradient(w)"),
    Mutant("unlearn.py", "published(estimate, sigma, target.value,",
           "published(estimate, sigma, target.bound,", "unlearn"),
    Mutant("unlearn.py", "recomputed_buffers(F_r, released)", "recomputed_buffers(F, released)"),
    Mutant("unlearn.py", "recomputed_buffers(F_r, released)", "recomputed_buffers(F_r, estimate)"),
    Mutant("unlearn.py", "VOID if refuted", "CONDITIONAL if refuted"),
    Mutant("unlearn.py", "CONDITIONAL if trusted else holds", "holds"),
    Mutant("unlearn.py", "norm <= C,", "norm <= 2 * C,"),
    Mutant("unlearn.py", "drift = 0.0 if stationary else target.value", "drift = 0.0"),
    Mutant("unlearn.py", "stability_bound(n, n_u", "stability_bound(n - n_u, n_u"),
    Mutant("unlearn.py", "n_u, g, mu, G)", "n_u, g, mu)"),
    Mutant("unlearn.py", "min(bounds.trivial_bound(C), d", "max(bounds.trivial_bound(C), d"),
    Mutant("unlearn.py", "Constants() if batchnorm.layers(F.model) else constants", "constants"),
    Mutant("unlearn.py", "        check_precision(F)", "        pass"),
    Mutant("unlearn.py", ".module(self.w)", ".module(self.estimate)"),
    Mutant("unlearn.py", "require(not secret,", "require(True,"),
    Mutant("unlearn.py", "w=w, forget=rows, ", "w=w, ", "processes"),
    # where the objective is strongly convex
    Mutant("strongly_convex.py", "w, gradient=G", "w, gradient=1.05 * G"),
    Mutant("strongly_convex.py", "F_r, w, gradient=G", "F, w, gradient=G"),
    Mutant("strongly_convex.py", "strong_convexity_bound(left, mu, G)",
           "strong_convexity_bound(left, mu)"),
    Mutant("strongly_convex.py", "evidence.LEFT: float(left.norm())",
           "evidence.LEFT: refined.gradient"),
    Mutant("strongly_convex.py", "evidence.GRADIENT: float(whole",
           "evidence.GRADIENT: 0.1 * float(whole"),
    Mutant("strongly_convex.py", "float((before - left).norm())",
           "float(before.norm() + left.norm())"),
    Mutant("strongly_convex.py", "F_r.hvp(refined.w, v)", "F.hvp(w, v)"),
    Mutant("strongly_convex.py", "target.value, seed)", "target.value, seed or 0)"),
    Mutant("strongly_convex.py", "Delta < rounding", "Delta < 0 * rounding"),
    Mutant("strongly_convex.py", "not batchnorm.layers(F.model),", "True,"),
    Mutant("strongly_convex.py", "would\n        calibrate(",
           "would\n        (lambda *a, **b: a)("),
    Mutant("strongly_convex.py", "stability_bound(F.n,", "stability_bound(F_r.n,"),
    Mutant("strongly_convex.py", "(F.n * whole - F_u.n * F_u.gradient(w)) / F_r.n", "whole"),
    Mutant("strongly_convex.py", "now, self.w, rows, seed=seed", "self.F, self.w, rows, seed=seed"),
    Mutant("strongly_convex.py", "    check_precision(F)", "    pass"),
    Mutant("strongly_convex.py", "    check_vector(F, w)", "    pass", "strongly_convex unlearn"),
    Mutant("refinement.py", "history[-1] <= gradient:", "history[-1] <= 1.05 * gradient:"),
    Mutant("refinement.py", "(1 - t / 4) * norm", "100 * norm"),
    Mutant("refinement.py", "PRODUCT * solution.steps", "PRODUCT * (solution.steps + 1)"),
    Mutant("refinement.py", "checked=False", "checked=True"),
    Mutant("refinement.py", "if len(history) <= max_steps", "if len(history) < max_steps"),
    Mutant("refinement.py", "Refinement(w, slope, history[-1]", "Refinement(w, slope, gradient"),
    Mutant("refinement.py", "w - slope / smoothness", "w - slope * smoothness"),
    # many requests
    Mutant("sequential.py", "self.w = release.estimate", "self.w = release.w"),
    Mutant("sequential.py", "self.kept = self.kept[~torch.isin(self.kept, wanted)]",
           "self.kept = self.kept"),
    Mutant("sequential.py", "self.seed + len(self.releases)", "self.seed"),
    Mutant("sequential.py", "self.F.only(self.kept) if self.releases else self.F", "self.F"),
    Mutant("sequential.py", "torch.searchsorted(self.kept, wanted)", "wanted"),
    Mutant("sequential.py", "stationary=not self.releases", "stationary=True"),
    Mutant("sequential.py", "compose_epsilon(sizes[:k], sigmas[:k], delta)", "max(each[:k])"),
    Mutant("sequential.py", "require(void is None,", "require(True,"),
    Mutant("sequential.py", "if void is None or", "if True or"),
    Mutant("sequential.py", "require(not gone,", "require(True,"),
    # the theorems
    Mutant("bounds.py", "local_newton_bound(trivial_bound(C)", "local_newton_bound(C"),
    Mutant("bounds.py", "(M * r**2 / 2", "(M * r**2"),
    Mutant("bounds.py", "abs(lam) * r + G)", "abs(lam) * r)"),
    Mutant("bounds.py", "2 * L * C + G", "L * C + G"),
    Mutant("bounds.py", "tol * gradient / (lam + lam_min)", "tol * gradient / lam"),
    Mutant("bounds.py", "math.sqrt(math.log(dim / rho))", "math.log(dim / rho)"),
    Mutant("bounds.py", "(lam + lam_min) + 1 / 16", "(lam + lam_min)"),
    Mutant("bounds.py", "max(2 * math.log", "min(2 * math.log"),
    Mutant("bounds.py", "np.where(a == 0, (steps + 1) /", "np.where(a == 0, steps /"),
    Mutant("bounds.py", "n_u * sample_gradient / n", "n_u * sample_gradient / (n - n_u)"),
    Mutant("bounds.py", "/ n + 2 * G) / mu", "/ n + G) / mu"),
    Mutant("bounds.py", "(gradient + G) / mu", "gradient / mu"),
    Mutant("bounds.py", "lam + lam_min > 0", "lam + lam_min >= 0"),
    Mutant("bounds.py", "2 * C + last", "2 * C"),
    Mutant("bounds.py", "min(newton_bound(C, M, lam, lam_min, G), trivial_bound(C))",
           "newton_bound(C, M, lam, lam_min, G)"),
    # the noise
    Mutant("noise.py", "(t / 2 - epsilon / t)", "(t / 2 + epsilon / t)"),
    Mutant("noise.py", "gaussian_delta(sensitivity, s, epsilon) <= delta", "True"),
    Mutant("noise.py", "1.25 / delta", "1 / delta"),
    Mutant("noise.py", "math.hypot(*(", "sum(("),
    Mutant("noise.py", "-rho), delta + rho", "-rho), delta"),
    Mutant("noise.py", "SeedSequence(seed)", "SeedSequence(seed or 0)"),
    Mutant("noise.py", "sensitivity / math.sqrt(len(estimate))", "sensitivity"),
    Mutant("noise.py", "math.floor(math.log2(h))", "math.ceil(math.log2(h))"),
    Mutant("noise.py", "noisy.round() *", "noisy *"),
    Mutant("noise.py", "wide = estimate.cpu().double()", "wide = estimate"),
    Mutant("noise.py", "sensitivity * (1 + ROUNDING)", "sensitivity"),
    Mutant("noise.py", "0 < delta < 1", "0 <= delta < 1"),
    Mutant("noise.py", '"classical" or epsilon <= 1', '"classical" or epsilon <= 10'),
    Mutant("noise.py", "    if seed is not None:", "    if seed:"),
    # what is proved of the network and of softmax regression
    Mutant("lab/convex_network.py", "BEND = 4 /", "BEND = 2 /"),
    Mutant("lab/convex_network.py", "2 * BEND * self.gain", "BEND * self.gain"),
    Mutant("lab/convex_network.py", "self.curvature + weight_decay", "self.curvature"),
    Mutant("lab/convex_network.py", "HESSIAN_LIPSCHITZ * A**3 + ", ""),
    Mutant("lab/convex_network.py", " + 4 * a", ""),
    Mutant("lab/convex_network.py", "[signs, -signs]", "[signs, signs]"),
    Mutant("lab/convex_network.py", "        and F.loss is cross_entropy\n", ""),
    Mutant("lab/convex_network.py", "    check_length(F)", "    pass"),
    Mutant("lab/convex_network.py", "        mu > 0,", "        mu > -1,"),
    Mutant("lab/convex_network.py", "SAMPLE_GRADIENT * self.slope", "self.slope"),
    Mutant("evaluation/peers/convex.py", "SMOOTHNESS = 1 / 2", "SMOOTHNESS = 1 / 4"),
    Mutant("evaluation/peers/convex.py", "math.sqrt(2 / 27)\n", "math.sqrt(1 / 27)\n"),
    Mutant("evaluation/peers/convex.py", "SAMPLE_GRADIENT = math.sqrt(2)", "SAMPLE_GRADIENT = 1.0"),
    Mutant("evaluation/peers/convex.py", "longest <= LONGEST", "longest <= 2 * LONGEST"),
    Mutant("evaluation/peers/convex.py", ".norm(dim=1).max()", ".norm(dim=1).mean()"),
    Mutant("evaluation/peers/convex.py", "- q[:, j])", "+ q[:, j])", "peers"),
    Mutant("evaluation/peers/convex.py", "add_(F.weight_decay)", "add_(0)", "peers"),
    Mutant("evaluation/peers/convex.py", "F.dtype == torch.float64,", "True,", "peers"),
    Mutant("evaluation/peers/convex.py", "F.loss is cross_entropy and ", "", "peers"),
    Mutant("evaluation/peers/interpolation.py", "gap * geometric(contraction, steps)", "gap"),
    Mutant(
        "evaluation/peers/interpolation.py",
        "geometric(contraction**2, steps)",
        "geometric(contraction, steps)",
    ),
    Mutant("evaluation/peers/interpolation.py", "contraction**steps * start", "start"),
    Mutant("evaluation/peers/clipped_gradients.py", '"start": 2 * radius', '"start": radius'),
    Mutant("evaluation/peers/clipped_gradients.py", '"gap": 2 * lr * limit', '"gap": lr * limit'),
    Mutant(
        "evaluation/peers/clipped_gradients.py",
        "w, batches, seen = clip(w, radius), endless",
        "w, batches, seen = w, endless",
    ),
    Mutant("evaluation/peers/clipped_gradients.py", "- F.weight_decay * w", ""),
    Mutant("evaluation/peers/clipped_gradients.py", "1 - lr * decay}", "1.0}"),
    Mutant(
        "evaluation/peers/clipped_models.py",
        "gaussian_delta(2 * ratio, 1.0",
        "gaussian_delta(ratio, 1.0",
    ),
    Mutant(
        "evaluation/peers/clipped_models.py",
        "return d * gaussian_delta",
        "return gaussian_delta",
    ),
    Mutant("evaluation/peers/clipped_models.py", "- math.log(d)", ""),
    Mutant("evaluation/peers/clipped_models.py", ".gradient(w), radius)", ".gradient(w), 1e9)"),
    Mutant("evaluation/peers/rewind.py", "* q**between * drifted", "* drifted"),
    Mutant("evaluation/peers/rewind.py", "2 * m * g / n) * q", "m * g / n) * q"),
    Mutant(
        "evaluation/peers/rewind.py",
        "contraction(lr, mu, L) if mu",
        "contraction(lr, L, L) if mu",
    ),
    Mutant(
        "evaluation/peers/rewind.py",
        "earlier = _descend(F, w, steps - between, lr)",
        "earlier = _descend(F, w, steps, lr)",
    ),
    Mutant("evaluation/peers/noisy_sgd.py", "g * m / min(sizes)", "g * m / max(sizes)"),
    Mutant(
        "evaluation/peers/noisy_sgd.py",
        "noise = math.sqrt(2 * lr) * sigma",
        "noise = math.sqrt(4 * lr) * sigma",
    ),
    Mutant("evaluation/peers/noisy_sgd.py", "w, math.sqrt(2 * lr) * sigma, seed", "w, sigma, seed"),
    Mutant("evaluation/peers/noisy_sgd.py", "b[~isin(b, gone)]", "b"),
    Mutant("evaluation/peers/noisy_sgd.py", "Z + before * c**steps", "Z + before"),
    Mutant("evaluation/peers/dp_sgd.py", "sigma * limit, seed", "sigma, seed"),
    Mutant(
        "evaluation/peers/dp_sgd.py",
        "math.expm1(epsilon / m) / math.expm1(epsilon)",
        "math.exp(epsilon / m - epsilon)",
    ),
    Mutant("evaluation/peers/dp_sgd.py", "(total / size", "(total / (rate * F.n)"),
    Mutant("evaluation/peers/interpolation.py", "(seed, step)", "(seed + step,)"),
    Mutant("evaluation/peers/interpolation.py", "0 < contraction <= 1,", "0 < contraction,"),
    Mutant(
        "evaluation/peers/clipped_models.py",
        "rounded_up(brentq(too_much, 0.0, high), lambda",
        "(lambda f, g: f)(brentq(too_much, 0.0, high), lambda",
    ),
    Mutant("evaluation/peers/dp_sgd.py", "list(range(most + 1))", "[1] * (most + 1)"),
    # the update and its solvers
    Mutant("newton.py", "-len(forget) / (F.n - len(forget))", "-len(forget) / F.n"),
    Mutant("newton.py", "-len(forget) /", "len(forget) /"),
    Mutant("newton.py", "solver(F.without(forget), w", "solver(F, w"),
    Mutant("newton.py", "/ (F.n - F_u.n)", "/ F.n"),
    Mutant("newton.py", "- F_u.n * F_u.gradient(w)", "- F_u.gradient(w)"),
    Mutant("cg.py", "unit - H(x) - lam * x", "unit - H(x)"),
    Mutant("cg.py", "H(v) + lam * v", "H(v)"),
    Mutant("cg.py", "history[-1] = (history[-1][0], float(r.norm()))", "pass"),
    Mutant("cg.py", "if not checked:", "if checked:"),
    Mutant("cg.py", "if curvature <= 0", "if curvature < 0"),
    Mutant("cg.py", "z + (rz / last) * v, rz", "z, rz"),
    Mutant("cg.py", "z = P(r)", "z = r"),
    Mutant("cg.py", "        require(not rz < 0", "        require(not rz < -1e9"),
    Mutant("refinement.py", "if left > NEAR", "if left > 10"),
    Mutant("refinement.py", "gained**ORDER", "gained"),
    Mutant("refinement.py", "float(F.check(slope, \"slope\").norm()) > gradient", "True"),
    Mutant("strongly_convex.py", "retained_gradient(F, w, rows, whole)", "whole"),
    Mutant("strongly_convex.py", "self.whole = release.solution.slope", "self.whole = None"),
    Mutant("lab/preconditioners.py", "+ self.decay", ""),
    Mutant("lab/preconditioners.py", "H.diagonal().add_(F.weight_decay)", "pass"),
    Mutant("lab/preconditioners.py", "sizes.topk(", "(-sizes).topk("),
    Mutant("lab/preconditioners.py", "F.reduce(total) / F.n", "F.reduce(total)"),
    Mutant("lab/preconditioners.py", "- p[:, None, :]", ""),
    Mutant("lab/preconditioners.py", "pad(s.square(), (0, d - F.n))", "pad(s, (0, d - F.n))"),
    Mutant("lab/preconditioners.py", "V.T.contiguous()", "V.contiguous()"),
    Mutant("lab/convex_network.py", "self.signs[None] - (p @ self.signs)[:, None]", "self.signs"),
    Mutant("lab/convex_network.py", "self.gain * (1 - fired**2)", "self.gain * (1 - fired)"),
    Mutant("lab/features.py", "(ROUNDED * x).to(dtype)", "x.to(dtype)"),
    Mutant("lab/features.py", "math.sqrt(1 - BIAS**2) * found", "found"),
    Mutant("lab/features.py", 'self.key | {"data": images.digest}', "self.key"),
    Mutant("lab/features.py", '"weights": digest.hexdigest()', '"weights": ""'),
    Mutant("lab/features.py", "net = net.eval()", "pass"),
    Mutant("lab/drawn.py", "[:, :, data.PATCH_BORDER :]", "[:, :, : data.PATCH_BORDER]"),
    Mutant("lab/drawn.py", "- (-pen * edge).sigmoid()", ""),
    Mutant("lab/drawn.py", "[which, None] / 16", "[which, None] / 32"),
    Mutant("lab/drawn.py", "high * (slant - turn.sin())", "high * (slant + turn.sin())"),
    Mutant("lab/drawn.py", "list(allcnn)[:-3]", "list(allcnn)[:-2]"),
    Mutant("lab/drawn.py", "avg_pool2d(fine, 2), self", "fine[:, :, ::2, ::2], self"),
    Mutant("lab/drawn.py", "pieces(photographs, count // 2, g)", "textures(count // 2, g)"),
    Mutant("lab/drawn.py", "(2, 2, 2, 2)) - over)", "(2, 2, 2, 2)) + over)"),
    Mutant("lab/backgrounds.py", "height - SIDE + 1", "height - SIDE"),
    Mutant("lab/backgrounds.py", "torch.where(coin(), 1 - x, x)", "x"),
    Mutant("lab/backgrounds.py", "x.transpose(2, 3)", "x"),
    Mutant("lab/backgrounds.py", "radius ** -between", "radius ** between"),
    Mutant("lab/backgrounds.py", "field / field.std", "field * field.std"),
    Mutant(
        "checkpoint.py",
        'self.rule.load_state_dict(self.rule.state_dict() | {"state": {0: memory}})',
        "self.rule.state[w] = memory",
    ),
    Mutant("lab/drawn.py", "from_numpy(known.target)[which]", "from_numpy(known.target)[: count]"),
    Mutant("lab/patches.py", "for sign in (1, -1)", "for sign in (1, 1)"),
    Mutant("lab/patches.py", "x.flip(3)", "x.flip(2)"),
    Mutant("lab/patches.py", "/ 2).sqrt()", "/ 2)"),
    Mutant("lab/patches.py", "white / white.norm(dim=1, keepdim=True)", "white"),
    Mutant("lab/scattering.py", "range(j + 1, self.scales)", "range(j, self.scales)"),
    Mutant("lab/scattering.py", "wave.sum() / envelope.sum()", "0"),
    Mutant("lab/proved.py", "2 * left >= self.counts", "left > self.counts"),
    Mutant("lab/proved.py", "2 * left >= self.counts", "3 * left >= self.counts"),
    Mutant("lab/proved.py", "else input_spectrum(single)", "else self.inputs"),
    Mutant("lab/proved.py", "F.y if F.rows is None else F.y[F.rows]", "F.y"),
    Mutant("lab/proved.py", "some.n // SAMPLES_A_DIRECTION", "some.n"),
    Mutant("lab/profiles.py", "if values[name] < 1:", "if values[name] < 0:", "profiles"),
    Mutant("lab/proved.py", "math.sqrt(requests), epsilon", "1.0, epsilon"),
    Mutant("lab/proved.py", "_some(single, PREPARED_ON)", "single"),
    Mutant("lab/proved.py", "single = time.perf_counter(), curvature(F)",
           "single = time.perf_counter(), curvature(self.F)"),
    Mutant("lab/proved.py", 'settings | {"features": self.features.key, ', "settings | {"),
    Mutant("cg.py", "x * size, residual", "x, residual"),
    Mutant("cg.py", "if residual <= tol else STEPS", "if residual <= 10 * tol else STEPS"),
    Mutant("cg.py", "1.01 * abs", "0.9 * abs"),
    Mutant("lissa.py", "alpha=F.weight_decay + self.lam", "alpha=self.lam"),
    Mutant("lissa.py", "alpha=F.weight_decay + self.lam", "alpha=F.weight_decay"),
    Mutant("lissa.py", "self.H(x) + self.lam * x", "self.H(x)"),
    Mutant("lissa.py", "size * (shares @ means) / scale", "size * (shares @ means)"),
    Mutant("lissa.py", "CONVERGED if residual <= tol else NOISE_FLOOR", "CONVERGED"),
    Mutant("lissa.py", "F.draw((self.chains, self.batch_size), self.generator)",
           "F.draw((1, self.batch_size), self.generator).expand(self.chains, -1)"),
    Mutant("lissa.py", "SCALE_MARGIN * curvature + lam", "SCALE_MARGIN * curvature"),
    Mutant("lissa.py", "products.mean(0) + lam * means", "products.mean(0)"),
    Mutant("linearised.py", " + F.weight_decay * v", ""),
    Mutant("linearised.py", "keeps) * (samples.stop - samples.start)", "keeps) * F.pass_size"),
    Mutant("linearised.py", "derivative_along(slope, at, pushed, again)", "pushed"),
    Mutant("linearised.py", "len(v) * F.loss(", "F.loss("),
    # the objective and what it refuses
    Mutant("objective.py", "self.weight_decay / 2 *", "self.weight_decay *"),
    Mutant("objective.py", " + self.weight_decay * self._from_center(w)", ""),
    Mutant("objective.py", "w if self.center is None else w - self.center", "w"),
    Mutant("objective.py", "leaf)[0] * len(x)", "leaf)[0] * self.pass_size"),
    Mutant("objective.py", "rows=rows if self.rows is None else self.rows[rows]", "rows=rows"),
    Mutant("objective.py", "keep[rows] = False", "keep[rows - 1] = False"),
    Mutant("objective.py", "(rows.diff() == 1).all()", "True"),
    Mutant("objective.py", "(rows.diff() == 1).all()", "False"),
    Mutant("objective.py", "draws.integers(self.n, shape", "draws.integers(self.n - 1, shape"),
    Mutant("objective.py", "(model).eval()", "(model)"),
    Mutant("objective.py", ".sum(1).mean() / 2", ".sum(1).mean()"),
    Mutant("objective.py", "min(start + self.pass_size, samples.stop)", "start + self.pass_size"),
    Mutant("checks.py", "worst < n", "worst <= n"),
    Mutant("checks.py", "require(not twice,", "require(True,"),
    Mutant("checks.py", "require(bad == 0,", "require(True,"),
    Mutant("checks.py", "(vars(layer) | layer._buffers)", "layer._buffers", "unlearn"),
    Mutant("checks.py", "if not q.requires_grad]", "if False]", "unlearn"),
    Mutant("checks.py", "_alike(together, again, 8)", "True"),
    Mutant("checks.py", "_alike(together, torch.cat(apart), 8)", "True"),
    Mutant("checks.py", " and _alike(together, mean, 0.1)", ""),
    Mutant("checks.py", "worst < classes", "worst <= classes"),
    Mutant("batchnorm.py", "layer.momentum = None", "layer.momentum = 0.1"),
    Mutant("batchnorm.py", "layer.reset_running_stats()", "pass"),
    Mutant("batchnorm.py", "if size != 1 or", "if size < 1 or"),
    Mutant("batchnorm.py", "F.n // max(2, F.pass_size)", "F.n // F.pass_size"),
    # what is kept, and under which name
    Mutant("lab/store.py", ', "torch": torch.__version__', ""),
    Mutant("lab/store.py", ', "recipe": recipe', ""),
    Mutant("lab/store.py", "_place(kind, key, recipe)[0]", "_place(kind, key, 1)[0]"),
    Mutant("lab/store.py", "_USED.add((metadata", "tuple((metadata"),
    # a training that is kept on its way, shared among processes, and made on one device
    Mutant("checkpoint.py", "self.generator.set_state(tensors[\"draws\"].cpu())", "pass"),
    Mutant("checkpoint.py", 'name: q.clone() for name, q in _part(tensors, "rule.").items()', ""),
    Mutant("checkpoint.py", 'self.model.take_buffers(_part(tensors, "buffer."))', "pass"),
    Mutant("checkpoint.py", 'info["seconds"]\n', "0.0\n"),
    Mutant("projected_sgd.py", "range(epoch * batches, (epoch + 1) * batches)",
           "range(0, batches)"),
    Mutant("projected_sgd.py", "if _arrived(history, until_gradient):", "if False:"),
    Mutant("projected_sgd.py", 'torch.arange(F.n, device="cpu")', "torch.arange(F.n)"),
    Mutant("trainees.py", "len(own) / len(positions)", "1.0"),
    Mutant("trainees.py", "self.w.grad.copy_(self.reduce(self.w.grad))", "pass"),
    Mutant("trainees.py", "mean if self.reduce is None else self.reduce(mean)", "mean"),
    Mutant("trainees.py", "not F.paired and ", ""),
    Mutant("trainees.py", " and not batchnorm.layers(F.model)\n", "\n"),
    Mutant("precision.py", 'WITHOUT_DOUBLE = ("mps",)', "WITHOUT_DOUBLE = ()"),
    Mutant("draws.py", "device=home(generator)).to(like)", ").to(like)"),
    Mutant("lab/device.py", "allow_tf32 = False", "allow_tf32 = True"),
    Mutant("lab/device.py", 'asked = "cuda" if there["cuda"] else "cpu"', 'asked = "cpu"'),
    Mutant("lab/store.py", "    unfinished.remove()\n", ""),
    Mutant("lab/files.py", "if actual != written", "if False"),
    Mutant("lab/files.py", "digest.update(tensor.reshape", "bytes(tensor.reshape"),
    Mutant("lab/files.py", "sha256(json.dumps(metadata, sort_keys=True).encode())", "sha256()"),
    Mutant("lab/store.py", "value, sort_keys=True", "value"),
    Mutant("lab/experiments.py", '"training": TRAINING', '"training": 1'),
    Mutant("lab/experiments.py", "self.forget.tolist()", "len(self.forget)"),
    Mutant("lab/experiments.py", '"seed": self.seed,', ""),
    Mutant("lab/experiments.py", '"data": self.images.digest', '"data": self.images.name'),
    Mutant("lab/experiments.py", "self.train(self.F_r, self.F.initial(), kept)",
           "self.train(self.F, self.F.initial(), kept)"),
    Mutant("lab/experiments.py", "other.F.without(self.forget)", "other.F"),
    Mutant("lab/contenders.py", "d.forget.tolist()", "len(d.forget)", "requests contenders"),
    Mutant("lab/stationary.py", '{"without": forget.tolist()}', '{"without": len(forget)}'),
    # the models whose certificates are proved
    Mutant("lab/proved.py", "sorted(int(i) for i in without)", "len(without)"),
    Mutant("lab/proved.py", 'self.images.digest, "G"', 'self.images.name, "G"'),
    Mutant("lab/proved.py", ', "G": G}', "}"),
    Mutant("lab/proved.py", "self.mu * Delta / 2", "self.mu * Delta"),
    Mutant("lab/proved.py", "self.F.without(without) if len(without) else self.F", "self.F"),
    Mutant("lab/features.py", "found.norm(dim=1, keepdim=True)", "found.norm(dim=1).max()"),
    Mutant("lab/proved.py", "reach=strength", "reach=1.0"),
    Mutant("lab/proved.py", "L=SMOOTHNESS + weight_decay", "L=SMOOTHNESS"),
    # what the ablations and the sequences measure
    Mutant("lab/step.py", "return project(step, C)", "return project(step, 2 * C)"),
    Mutant("lab/step.py", "conjugate_gradient(subset, w", "conjugate_gradient(F_r, w"),
    Mutant("lab/curvature.py", "2 * lam * C / least", "lam * C / least"),
    Mutant("lab/curvature.py", "max(-ends.lam_min, ends.lam_max)", "ends.lam_max"),
    Mutant("lab/curvature.py", "bound(d.pair.C, lam, residual(d))", "bound(d.pair.C, lam)"),
    Mutant("studies/nb03_certificate_and_noise/bound.py", "min(measured, bounds.trivial_bound(C))",
           "measured"),
    Mutant("studies/nb03_certificate_and_noise/bound.py", "(low, middle) if too_small else",
           "(middle, high) if too_small else"),
    Mutant("studies/nb03_certificate_and_noise/exhaustion.py", "max(errors)", "min(errors)"),
    Mutant("studies/nb09_nonconvergence.py", "len(forget) / (F.n - len(forget)) * F", "F"),
    Mutant("studies/nb10_sequential.py", "asked(d, gone).retrained.w", "d.retrained.w"),
    Mutant("studies/nb10_sequential.py", "(*terms, gradient=gradient)", "(*terms)"),
    # audits and verdicts
    Mutant("evaluation/audit.py", "math.log(1 - level - delta) -", "math.log(1 - level) -"),
    Mutant("evaluation/audit.py", "np.arange(v, r + 1)", "np.arange(v + 1, r + 1)"),
    Mutant("evaluation/audit.py", "each = (1 - level) / 2", "each = 1 - level"),
    Mutant("evaluation/audit.py", "(1 - fpr - delta)", "(1 - fpr)"),
    Mutant("evaluation/audit.py", "sign * scores[len(scores) // SHARE :]", "sign * scores"),
    Mutant("evaluation/audit.py", "audit.bound > claimed", "audit.bound > 2 * claimed"),
    Mutant("evaluation/audit.py", "            holds != PROVED,", "            True,"),
    Mutant("evaluation/audit.py", "audit.ceiling < claimed", "audit.bound < claimed"),
    Mutant("evaluation/audit.py", "betaincinv(count + 1,", "betaincinv(count,"),
    Mutant("evaluation/audit.py", "> np.median", "< np.median"),
    Mutant("evaluation/audit.py", "ndtri(fpr)", "ndtri(0.5 * fpr)"),
    Mutant("evaluation/audit.py", "ndtri(tpr) - ndtri(fpr)", "ndtri(tpr) + ndtri(fpr)"),
    Mutant("evaluation/audit.py", "if mu > 0 else 0.0", "if mu > 1 else 0.0"),
    Mutant("evaluation/equivalence.py", "-margin <= self.low and", ""),
    Mutant("evaluation/equivalence.py", " and self.high <= margin", ""),
    Mutant("evaluation/equivalence.py", "self.low > margin or", "self.low >= margin or"),
    Mutant("evaluation/equivalence.py", " or self.high < -margin", ""),
    Mutant("evaluation/equivalence.py", "(half / room) ** 2", "(half / room)"),
    Mutant("evaluation/equivalence.py", "LEVEL = 0.90", "LEVEL = 0.50"),
    Mutant("evaluation/equivalence.py", "own if shared else own / seeds", "own / seeds"),
    Mutant("evaluation/equivalence.py", "t.ppf(tail, seeds - 1)", "norm.ppf(tail)"),
    Mutant("evaluation/equivalence.py", "* beyond / seeds", "* 0 * beyond / seeds"),
    Mutant("evaluation/equivalence.py", "(0.0 if shared else own)", "0.0"),
    Mutant("evaluation/equivalence.py", "return ours - theirs", "return theirs - ours"),
    Mutant("evaluation/klom.py", "np.log(p[held]", "np.log2(p[held]"),
    Mutant("evaluation/klom.py", "FLOOR = 20, 100.0, 1e-5", "FLOOR = 10, 100.0, 1e-5"),
    Mutant("evaluation/ulira.py", "judged, truth = expit(log_odds[~fitted]",
           "judged, truth = expit(log_odds[fitted]"),
    Mutant("evaluation/ulira.py", "[fitted], ~forgot", "[fitted], forgot"),
    Mutant("evaluation/ulira.py", "np.maximum(count - 1, 1)", "np.maximum(count, 1)"),
    Mutant("evaluation/challenge.py", "(1 - delta - fnr) / fpr", "(1 - delta - fpr) / fpr"),
    Mutant("evaluation/challenge.py", "np.floor(2 * epsilon)", "np.ceil(2 * epsilon)"),
    Mutant("evaluation/challenge.py", "epsilon >= math.ceil", "epsilon > math.ceil"),
    # the rules, and the null tests that let them judge
    Mutant("lab/nulls.py", "(found == REPRODUCED) != (what in right)", "found == REPRODUCED"),
    Mutant("lab/nulls.py", "(found == REPRODUCED) != (what in right)",
           "(found == NOT_REPRODUCED) != (what in right)"),
    Mutant("lab/nulls.py", "{**right, **wrong}.items()", "{**right}.items()"),
    Mutant("lab/nulls.py", "{**right, **wrong}.items()", "{**wrong}.items()"),
    Mutant("lab/nulls.py", "if misjudged and", "if len(misjudged) > 1 and"),
    Mutant("lab/nulls.py", "2 * won > len", "2 * won >= len"),
    Mutant("lab/nulls.py", "2 * lost >= len", "2 * lost > len"),
    Mutant("lab/verdicts.py", "THIRD = 1 / 3", "THIRD = 2 / 3"),
    Mutant("lab/verdicts.py", "THIRD = 1 / 3", "THIRD = 1 / 6"),
    Mutant("lab/verdicts.py", 'SETS = ("forgotten", "retained", "test")', 'SETS = ("forgotten",)'),
    Mutant("lab/verdicts.py", "return NOT_JUDGED, f\"not shown that there",
           "return NOT_REPRODUCED, f\"not shown that there"),
    Mutant("lab/verdicts.py", "return NOT_JUDGED, f\"{said}",
           "return NOT_REPRODUCED, f\"{said}"),
    Mutant("lab/verdicts.py", "away <= THIRD * signal", "away <= signal"),
    Mutant("lab/verdicts.py", "if signal <= POINT", "if False"),
    Mutant("lab/verdicts.py", "if min(by_case", "if max(by_case"),
    Mutant("lab/verdicts.py", "best == way for best", "best != way for best"),
    Mutant("evaluation/equivalence.py", "(half / room) ** 2", "half / room"),
    Mutant("studies/nb13_frontier/balls.py", "2 * radius / sigma", "radius / sigma"),
    Mutant("studies/nb13_frontier/balls.py", "epsilon, DELTA) / 2", "epsilon, DELTA)"),
    Mutant("studies/nb13_frontier/balls.py", "epsilon, DELTA) / 4", "epsilon, DELTA)"),
    Mutant("studies/nb13_frontier/balls.py", "0.999 * math.exp", "1.2 * math.exp"),
    Mutant("studies/nb13_frontier/descents.py", "w, epochs=steps", "w, epochs=1"),
    Mutant("studies/nb13_frontier/private.py", "sigma(epsilon, m,", "sigma(epsilon, 1,"),
    Mutant("studies/nb13_frontier/private.py", "min(1.0, BATCH / n)", "BATCH / n"),
    Mutant("studies/nb13_frontier/private.py", "rate * case.F.n", "case.F.n"),
    Mutant("studies/nb13_frontier/private.py", "/ (sigma * limit", "/ (limit"),
    Mutant("studies/nb13_frontier/epsilons.py", "max(scores)", "scores[-1]"),
    Mutant("studies/nb13_frontier/epsilons.py", "way, epsilon, setting", "way, 1.0, setting"),
    Mutant("studies/nb13_frontier/tuning.py", "curve(held_out, forget", "curve(case, forget"),
    Mutant("studies/nb13_frontier/tuning.py", "if way.sized and asked", "if asked"),
    Mutant("studies/nb13_frontier/tuning.py", ', trial.get("first", -1.0)', ", 0.0"),
    Mutant("studies/nb13_frontier/audits.py", "* worlds.attained", ""),
    Mutant("studies/nb13_frontier/way.py", "sure and not self.gap", "sure"),
    Mutant("studies/nb13_frontier/worlds.py", "settled * own", "own"),
    Mutant("evaluation/peers/clipped_gradients.py", "v.nan_to_num(0.0, 0.0, 0.0)", "v"),
    Mutant("evaluation/peers/dp_sgd.py", ".nan_to_num_(0.0, 0.0, 0.0)", ""),
    Mutant("evaluation/peers/neel.py", "else I + 1", "else I"),
    Mutant("evaluation/peers/neel.py", "convex.require_above_rounding(bound, self.w)", "pass"),
    Mutant("evaluation/peers/sekhari.py", "else m - 1", "else m"),
    Mutant("studies/nb13_frontier/forerunner_worlds.py", "share * answer.sigma", "answer.sigma"),
    Mutant("studies/nb13_frontier/forerunner_worlds.py", "=share * _sigma()", "=_sigma()"),
    Mutant("studies/nb13_frontier/curves.py", "int(EPOCHS - begun.gradients)", "EPOCHS"),
    Mutant("studies/nb13_frontier/curves.py", "else 0.0 for reached", "else 1.0 for reached"),
    Mutant("studies/nb13_frontier/choice.py", "rows.proved | (not proved)", "rows.proved | proved"),
    Mutant("studies/nb13_frontier/choice.py", "- AS_GOOD", "+ AS_GOOD"),
    Mutant("lab/verdicts.py", "and all(of(rival, samples).within(margin) for samples in SETS)", ""),
    Mutant("lab/verdicts.py", "if nearer and verdict == REPRODUCED", "if False"),
    Mutant("lab/verdicts.py", "< least\n", "> least\n"),
    Mutant("lab/verdicts.py", "if other.low <= 0 <= other.high else", "if False else"),
    Mutant("lab/verdicts.py", "    if beyond:\n", "    if False:\n"),
    Mutant("lab/verdicts.py", "    if unclear:\n", "    if False:\n"),
    Mutant("lab/verdicts.py", "shares[who] >= 0.5", "shares[who] >= 0.3"),
    Mutant("lab/verdicts.py", "shares[who] >= 0.1", "shares[who] > 0.1"),
    Mutant("lab/verdicts.py", "ratio <= REST", "ratio >= REST"),
    Mutant("lab/verdicts.py", "scores[who] <= BIAS", "scores[who] >= BIAS"),
    Mutant("lab/verdicts.py", "BIAS = 1.5", "BIAS = 5.0"),
    Mutant("lab/verdicts.py", "row.audited <= row.claimed", "row.audited <= 2 * row.claimed"),
    Mutant("lab/verdicts.py", "factors > claimed", "factors >= claimed"),
    Mutant("lab/verdicts.py", "strict == kind == pairs", "kind == pairs"),
    Mutant("lab/verdicts.py", "factor >= claimed", "factor > claimed"),
    Mutant("lab/verdicts.py", "or p < PAPER_SIZE", "and p < PAPER_SIZE"),
    Mutant("lab/verdicts.py", "bound[least] / 2", "bound[least] / 1.5"),
    Mutant("lab/verdicts.py", "(change < -HAIR).all()", "(change < -HAIR).any()"),
    Mutant("lab/verdicts.py", "ratio[released] < 0.5 and cheap[released]", "ratio[released] < 0.5"),
    Mutant("lab/verdicts.py", "error <= requests.Delta", "error <= 2 * requests.Delta"),
    Mutant("lab/verdicts.py", "0.9 * bound", "1.0 * bound"),
    Mutant("lab/verdicts.py", "have > least", "have >= least"),
    Mutant("lab/verdicts.py", "<= NOISE).all(axis=1)", "<= NOISE).any(axis=1)",
           "studies/nb12_paper_and_release"),
    Mutant("studies/nb04_utility/scores.py", ".isin([OURS, ITS_NOISE])", ".isin([OURS])"),
    Mutant("studies/nb04_utility/scores.py", "(retained - forgotten) /",
           "(forgotten - retained) /"),
    Mutant("studies/nb05_membership_inference/shadows.py", "halves += [chosen, ~chosen]",
           "halves += [chosen, chosen]"),
    Mutant("studies/nb05_membership_inference/shadows.py", "(shadows.F_pool, oracle[half:])",
           "(shadows.F_pool, oracle[:half])"),
    Mutant("studies/nb11_budget_and_utility/sabotage.py", "noise * pair.sigma", "pair.sigma"),
    Mutant("studies/nb11_budget_and_utility/sabotage.py", "apart * self.Delta / 2",
           "self.Delta / 2"),
    Mutant("lab/contenders.py", "(*setting[:-1], 0.0)", "(*setting[:-1], setting[-1] / 2)"),
    # the second opinion
    Mutant("verify.py", "(M * C + abs(lam)) + G +", "(M * C + abs(lam)) +"),
    Mutant("verify.py", "tol * (2 * L * C + G)", "tol * (L * C + G)"),
    Mutant("verify.py", "needed = 2 * G / mu", "needed = G / mu"),
    Mutant("verify.py", "mpmath.exp(epsilon) * ncdf(", "ncdf("),
    Mutant("verify.py", "G if card.C == math.inf", "2 * G if card.C == math.inf"),
    Mutant("verify.py", "mu * Delta - G}", "mu * Delta}"),
    Mutant("verify.py", "(AT_W, w, every)", "(AT_W, w, kept)"),
    Mutant("verify.py", 'marks - {("G", "chosen")} if q != "proved"', 'marks if q == "assumed"'),
    Mutant("verify.py", "LONGEST**2 * 2 * t * a", "LONGEST**2 * t * a"),
    Mutant("verify.py", "True if short + wrong <= 0", "True if short <= 0"),
    Mutant("verify.py", "(2 * share * g + 2 * G) / mu", "(2 * share * g + G) / mu"),
    Mutant("verify.py", "likely, ", "True, "),
    Mutant("by_hand.py", "np.expm1(2 * e)", "np.expm1(e)"),
    Mutant("by_hand.py", "(w - self.center)", "w"),
    Mutant("by_hand.py", "((1 - h) * (1 + h))", "(1 - h)"),
    Mutant("by_hand.py", "(dh.sum(1, keepdims=True) + df)", "df"),
    Mutant("by_hand.py", "powers[at] = -powers.sum(1)", "powers[at] = 0.0"),
]  # fmt: skip


# ---- a copy to put errors into ------------------------------------------------------------------


def copied(folder: Path) -> Path:
    """Package, studies and tests in a folder of their own, compiled.

    A compiled file is trusted by the hash of its source, so none is taken for one that changed.
    """
    for name in ("unlearnlib", "notebooks/studies", "tests"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    by_hash = py_compile.PycInvalidationMode.CHECKED_HASH
    for name in ("unlearnlib", "notebooks"):
        compileall.compile_dir(folder / name, quiet=1, invalidation_mode=by_hash)
    return folder


@contextmanager
def with_error(folder: Path, mutant: Mutant) -> Iterator[None]:
    """The error is in the copy for as long as this lasts."""
    path = mutant.path(folder)
    text = path.read_text(encoding="utf-8")
    path.write_text(mutant.applied(text), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(text, encoding="utf-8")


# ---- running tests ------------------------------------------------------------------------------


class Failures:
    """A pytest plugin that keeps the name of the first test to fail."""

    first = ""

    def pytest_runtest_logreport(self, report) -> None:
        if report.failed:
            self.first = self.first or report.nodeid

    def pytest_collectreport(self, report) -> None:
        if report.failed:
            self.first = self.first or f"{report.nodeid}, which cannot be imported"


def noticed(folder: Path, files: list[str]) -> Outcome:
    """The first test to fail in a process of its own, forked so that imports are paid once."""
    started = time.perf_counter()
    shutil.rmtree(folder / "cache", ignore_errors=True)  # no result of another mutant's
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        _test(folder, files, writing)
    os.close(writing)
    in_time, _, _ = select.select([reading], [], [], LIMIT)
    said = os.read(reading, 10_000).decode() if in_time else f"ran longer than {LIMIT} s"
    with suppress(ProcessLookupError):  # what it started itself may be running still
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reading)
    return Outcome("" if said == PASSED else said or "died", time.perf_counter() - started)


def _test(folder: Path, files: list[str], writing: int) -> None:
    """What the forked process does; never returns."""
    os.setsid()
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1), os.dup2(log, 2)
    said = "died"
    try:
        os.chdir(folder)
        failures = Failures()
        options = ["-x", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder)]
        code = importlib.import_module("pytest").main([*options, *files], plugins=[failures])
        said = PASSED if code == 0 else failures.first or f"pytest ended with {code!r}"
        if Path(sys.modules["unlearnlib"].__file__).parent.parent != folder:
            said = "another unlearnlib was tested"
    finally:
        os.write(writing, said.encode())
        os._exit(0)


def prepare(folder: Path) -> None:
    """Environment and imports that every forked process starts from."""
    places = {name: str(folder / name.lower()) for name in ("CACHE", "FIGURES", "DATA")}
    os.environ |= ENVIRONMENT | {f"UNLEARNLIB_{name}": place for name, place in places.items()}
    os.environ["PYTHONPATH"] = str(folder)
    sys.dont_write_bytecode = True
    sys.path[0] = str(folder)  # in place of the folder of this script
    for name in HEAVY:
        importlib.import_module(name)


# ---- the report ---------------------------------------------------------------------------------


def run(folder: Path, mutants: list[Mutant]) -> dict[Mutant, Outcome]:
    """Each mutant's outcome, printed as it ends; stops if the code itself fails its tests."""
    files = list(dict.fromkeys(file for mutant in mutants for file in mutant.files()))
    print(f"the code as it is, {len(files)} test files", flush=True)
    own = noticed(folder, files)
    if own.by:
        sys.exit((folder / "log").read_text() + f"\nwithout any mutant: {own.by}")
    print(f"passes, {own.seconds:.0f} s", flush=True)
    found, started = {}, time.perf_counter()
    for count, mutant in enumerate(mutants, 1):
        with with_error(folder, mutant):
            found[mutant] = noticed(folder, mutant.files())
        left = (time.perf_counter() - started) / count * (len(mutants) - count) / 60
        said = "killed" if found[mutant].by else "SURVIVED"
        seconds = found[mutant].seconds
        line = f"{count}/{len(mutants)} {said}, {seconds:.0f} s, {left:.0f} min left: {mutant}"
        print(line, flush=True)
    return found


def report(found: dict[Mutant, Outcome]) -> int:
    """Print the table; 1 where a survivor has no reason, or too few were noticed."""
    print()
    for mutant, outcome in found.items():
        print(f"{outcome.seconds:4.0f} s  {mutant}\n        {outcome.by or 'SURVIVED'}")
    for mutant, outcome in found.items():
        if outcome.by and mutant.reason:
            print(f"\nnoticed after all, so that it needs no reason: {mutant}")
    survivors = [mutant for mutant, outcome in found.items() if not outcome.by]
    share = 1 - len(survivors) / len(found)
    print(f"\n{len(found)} mutants, {len(found) - len(survivors)} killed ({share:.1%})")
    for mutant in survivors:
        print(f"SURVIVED {mutant}: {mutant.reason or 'write the test that notices'}")
    return int(share < ENOUGH or not all(mutant.reason for mutant in survivors))


def main() -> int:
    """All mutants, or those of one file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="end of a source file's name: bounds.py")
    only = parser.parse_args().only
    mutants = [mutant for mutant in MUTANTS if mutant.source.endswith(only)]
    if not mutants:
        sys.exit(f"No mutant is of {only}; there are {', '.join(TESTS)}.")
    for mutant in mutants:
        mutant.applied(mutant.path(ROOT).read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = copied(Path(name).resolve())
        prepare(folder)
        return report(run(folder, mutants))


if __name__ == "__main__":
    sys.exit(main())
