"""Membership inference finds members where there is something to find, and only there."""

import numpy as np
import pytest
import torch

import fedlab_utils as fl
from fedlab_utils.attacks import (
    AttackScores,
    demo_setting,
    lira,
    local_trainer,
    mean_range,
    membership_inference,
    one_client_each,
    tpr_bound,
    true_positive_rate,
)
from fedlab_utils.errors import DataError, FedlabError

ATTACKS = ("loss threshold", "LiRA", "LiRA online")


@pytest.fixture(scope="module")
def demo():
    return demo_setting("heart", members=60)


@pytest.fixture(scope="module")
def report(demo):
    return membership_inference(demo.train_many, demo.pool, members=60, targets=6, shadows=26)


def test_an_overfitted_model_gives_its_members_away(report):
    table = report.to_frame()
    assert tuple(table.index) == ATTACKS
    assert (table["AUC low"] > 0.8).all() and (table["AUC high"] <= 1).all()
    assert table.loc["LiRA", "TPR at 1% FPR"] > 0.3


def test_shadow_models_help_where_it_counts(report):
    threshold, shadow, _ = (report.attacks[name].tpr(0.01).mean() for name in ATTACKS)
    assert shadow > threshold


def test_models_that_never_saw_the_rows_tell_nothing(demo):
    def train_on_others(parts, seed):
        rng = np.random.default_rng(seed)
        others = [rng.permuted(demo.pool, axis=0)[: len(part)] for part in parts]
        return demo.train_many(others, seed)

    report = membership_inference(train_on_others, demo.pool, members=60, targets=12, shadows=12)
    for name in ATTACKS:
        _, low, high = mean_range(report.attacks[name].auc, 0.999)
        assert low < 0.5 < high and high - low < 0.15


def test_models_drowned_in_noise_tell_nothing(demo):
    def noisy(parts, seed):
        models = demo.train_many(parts, seed)
        generator = torch.Generator().manual_seed(seed)
        drowned = []
        for model in models:
            weights = fl.flatten(model)
            noise = 3 * torch.randn(len(weights), generator=generator)
            drowned.append(fl.unflatten(weights + noise, model))
        return drowned

    report = membership_inference(noisy, demo.pool, members=60, targets=12, shadows=12)
    for name in ATTACKS:
        assert abs(report.attacks[name].auc.mean() - 0.5) < 0.06


def test_same_seed_same_report(demo):
    local = fl.SGD(0.1, 2)
    first, second, other = (
        membership_inference(
            local_trainer(demo.model, local=local), demo.pool, members=30, shadows=8, seed=seed
        ).to_frame()
        for seed in (0, 0, 1)
    )
    assert first.equals(second) and not first.equals(other)


def test_one_model_per_part_as_if_it_were_alone(demo):
    parts = [demo.pool[:20], demo.pool[20:50]]
    models = local_trainer(demo.model, rounds=2, local=fl.SGD(0.1))(parts, 3)
    federation = one_client_each(parts)
    assert [len(c.x_train) for c in federation] == [20, 30]
    wanted = fl.fit_local(demo.model, federation, rounds=2, local=fl.SGD(0.1), seed=3)
    for model, other in zip(models, wanted.values(), strict=True):
        assert torch.equal(fl.flatten(model), fl.flatten(other))


def test_lira_knows_each_rows_own_difficulty():
    rng = np.random.default_rng(0)
    member = rng.random((40, 300)) < 0.5
    hardness = np.exp(2 * rng.normal(size=300))
    loss = hardness * np.exp(0.1 * rng.normal(size=(40, 300)) - 0.3 * member)
    plain = AttackScores(member[:1], -loss[:1])
    for online in (False, True):
        scores = AttackScores(member[:1], lira(loss, member, 0, online=online)[None])
        assert scores.auc[0] > 0.95 > 0.7 > plain.auc[0]


def test_a_row_without_shadow_models_scores_zero():
    loss = np.array([[1.0, 2.0], [2.0, 1.0], [1.5, 1.2]])
    member = np.array([[True, False], [True, False], [True, True]])
    assert lira(loss, member, 0, online=False)[0] == 0


def test_true_positive_rate_counts_ties_for_the_defence():
    member = np.array([True, True, False, False, False, False])
    assert true_positive_rate(member, np.array([3, 1, 2, 0, 0, 0]), 0.0) == 0.5
    assert true_positive_rate(member, np.array([3, 1, 2, 0, 0, 0]), 0.25) == 1
    assert true_positive_rate(member, np.zeros(6), 0.5) == 0
    assert true_positive_rate(member, np.zeros(6), 1.0) == 1
    with pytest.raises(DataError, match="one of them is empty"):
        true_positive_rate(np.ones(3, bool), np.zeros(3), 0.1)


def test_the_roc_goes_from_corner_to_corner():
    member = np.array([[True, False, True, False]])
    fpr, tpr = AttackScores(member, np.array([[4.0, 3.0, 2.0, 1.0]])).roc()
    assert list(fpr) == [0, 0.5, 1] and list(tpr) == [0.5, 1, 1]


def test_the_bound_of_differential_privacy():
    fpr = np.linspace(0, 1, 11)
    assert np.allclose(tpr_bound(fpr, 0.0), fpr)
    assert np.allclose(tpr_bound(fpr, 1000.0), [0, *np.ones(10)])
    assert tpr_bound(0.0, 1.0, 0.05) == pytest.approx(0.05)
    assert tpr_bound(0.01, 1.0) == pytest.approx(0.01 * np.e)
    # The two sides of the bound are mirror images of each other.
    assert np.allclose(1 - tpr_bound(1 - tpr_bound(fpr, 1.0), 1.0), fpr)


def test_the_range_is_students():
    mean, low, high = mean_range(np.array([1.0, 2.0, 3.0]))
    assert mean == 2 and high - mean == pytest.approx(4.3027 / 3**0.5, rel=1e-4)
    assert mean - low == pytest.approx(high - mean)
    with pytest.raises(DataError, match="at least two"):
        mean_range(np.array([1.0]))


def test_what_makes_no_attack_is_refused(demo):
    train = demo.train_many
    with pytest.raises(FedlabError, match="members=200"):
        membership_inference(train, demo.pool, members=len(demo.pool))
    with pytest.raises(FedlabError, match="targets=2"):
        membership_inference(train, demo.pool, members=5, targets=2)
    with pytest.raises(FedlabError, match="returned 1 models"):
        membership_inference(lambda parts, seed: [demo.model], demo.pool, members=5)
    with pytest.raises(FedlabError, match="leaves nobody out"):
        demo_setting("heart", members=1000)
