"""Attackers inside the federation: what they send, and that nobody else is touched."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fedlab_utils as fl
from fedlab_utils.attacks import (
    ALIE,
    Attacked,
    Colluding,
    FraudPattern,
    FreeRider,
    Gaussian,
    InnerProduct,
    Knowledge,
    ModelReplacement,
    RecordedFraud,
    Scaling,
    SignFlip,
    alie_deviations,
    backdoor_success,
    poison,
    record,
    success_table,
    summarise_success,
)
from fedlab_utils.errors import DataError, FedlabError
from fedlab_utils.federate import CentredClip, CoordinateMedian, NormBound, Watched
from fedlab_utils.federate.aggregators import RoundContext
from tests.federate import toy
from tests.federate.robust_toy import combined, context, rows

BAD = ("bank 2", "bank 4")
ATTACKS = [SignFlip(2.0), Scaling(3.0), Gaussian(), ModelReplacement(), ALIE(), InnerProduct(),
           Colluding(), Colluding(SignFlip(), 0.1), FreeRider("zero"), FreeRider("noise"),
           FreeRider("last")]  # fmt: skip


def sent(attack, updates=None, weights=None, **options):
    """What the server gets: updates and weights."""
    seen = []
    updates = rows(6) if updates is None else updates
    inner = Watched(fl.Mean(), lambda *round_: seen.append(round_))
    combined(Attacked(inner, attack, BAD, **options), updates, weights)
    return seen[0][0], seen[0][1]


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_only_the_attackers_rows_change_and_the_given_ones_stay(attack):
    updates, before = rows(6), rows(6)
    got, weights = sent(attack, updates, knows="all")
    assert torch.equal(updates, before) and weights.tolist() == [1.0] * 6
    honest = [0, 2, 4, 5]
    assert torch.equal(got[honest], updates[honest])
    assert not torch.equal(got[[1, 3]], updates[[1, 3]])
    again, _ = sent(attack, updates, knows="all")
    assert torch.equal(got, again)  # its randomness is the run's


def test_simple_attacks_are_what_they_say():
    updates = rows(6)
    assert torch.equal(sent(SignFlip(2.0), updates)[0][1], -2 * updates[1])
    assert torch.equal(sent(Scaling(3.0), updates)[0][3], 3 * updates[3])
    noise, _ = sent(Gaussian(10.0), rows(6, 4000))
    ratio = noise[1].norm() / rows(6, 4000)[1].norm()
    assert float(ratio) == pytest.approx(10, rel=0.1)
    assert abs(float(torch.cosine_similarity(noise[1], rows(6, 4000)[1], dim=0))) < 0.1


@given(st.lists(st.floats(1, 1e4), min_size=6, max_size=6))
def test_replacement_makes_the_attackers_update_the_weighted_mean(weights):
    updates = torch.zeros(6, 4, dtype=torch.float64)
    updates[[1, 3]] = rows(1, 4).expand(2, -1)
    updates = updates.clone()
    done = combined(Attacked(fl.Mean(), ModelReplacement(), BAD), updates, weights)
    torch.testing.assert_close(done.update, updates[1], rtol=1e-5, atol=1e-8)


def test_replacement_may_stay_below_a_bound():
    got, _ = sent(ModelReplacement(boost=50.0, bound=0.7))
    assert got[[1, 3]].norm(dim=1).tolist() == pytest.approx([0.7, 0.7])
    small, _ = sent(ModelReplacement(boost=2.0, bound=1e6))
    torch.testing.assert_close(small[1], 2 * rows(6)[1])


def test_alie_by_hand():
    updates = rows(6)
    honest = updates[[0, 2, 4, 5]]
    got, _ = sent(ALIE(1.5), updates, knows="all")
    wanted = honest.mean(0) - 1.5 * honest.std(0)
    torch.testing.assert_close(got[1], wanted)
    assert torch.equal(got[1], got[3])
    own = updates[[1, 3]]
    torch.testing.assert_close(sent(ALIE(1.0), updates)[0][1], own.mean(0) - own.std(0))


def test_alie_deviations_are_the_papers():
    # Its example: 50 workers, 24 corrupted; s = 26 - 24 = 2, (26 - 2) / 26 = 0.923.
    assert alie_deviations(50, 24) == pytest.approx(1.426, abs=1e-3)
    assert alie_deviations(20, 1) == 0.0
    with pytest.raises(FedlabError, match="majority"):
        alie_deviations(10, 6)


def test_inner_product_turns_the_mean_around_beyond_its_limit():
    updates = rows(10, around=1.0)
    bad = ("bank 1", "bank 2")
    true = updates[2:].mean(dim=0)
    for epsilon, sign in ((3.9, 1), (4.1, -1)):
        attack = Attacked(fl.Mean(), InnerProduct(epsilon), bad, knows="all")
        assert np.sign(float(combined(attack, updates).update @ true)) == sign


def test_colluding_clients_send_the_same():
    got, _ = sent(Colluding())
    assert torch.equal(got[1], got[3])
    torch.testing.assert_close(got[1], rows(6)[[1, 3]].mean(dim=0))
    noisy, _ = sent(Colluding(SignFlip(), noise=0.1), rows(6, 2000))
    flipped = -rows(6, 2000)[[1, 3]].mean(dim=0)
    away = (noisy[[1, 3]] - flipped).norm(dim=1) / flipped.norm()
    assert away.tolist() == pytest.approx([0.1, 0.1], rel=0.1)
    assert not torch.equal(noisy[1], noisy[3])


def test_free_riders_send_what_they_can_have():
    state = {"last": torch.full((500,), 2.0)}
    seen = []
    inner = Watched(fl.Mean(), lambda *round_: seen.append(round_[0]))
    for rider in (FreeRider("zero"), FreeRider("last", 0.0), FreeRider("last", 0.5),
                  FreeRider("noise", 3.0)):  # fmt: skip
        attack = Attacked(inner, rider, BAD)
        attack.aggregate_round(rows(6, 500).float(), torch.ones(6), state, context(6, 1))
    zero, copy, near, noise = (got[1] for got in seen)
    assert not zero.any() and torch.equal(copy, state["last"])
    length = float(state["last"].norm())
    assert float((near - copy).norm()) == pytest.approx(0.5 * length, rel=0.1)
    assert float(noise.norm()) == pytest.approx(3 * length, rel=0.1)


def test_the_last_update_is_the_one_before():
    attack = Attacked(fl.Mean(), FreeRider("last", 0.0), BAD)
    first = combined(attack, rows(6))
    assert torch.equal(first.state["last"], first.update)
    second = attack.aggregate_round(rows(6, seed=1), torch.ones(6), first.state, context(6, 1))
    others = rows(6, seed=1)[[0, 2, 4, 5]].sum(dim=0)
    torch.testing.assert_close(second.update, (others + 2 * first.update) / 6)


def test_claimed_rows_and_a_late_beginning():
    _, weights = sent(SignFlip(), claims=500.0)
    assert weights.tolist() == [1, 500, 1, 500, 1, 1]
    updates = rows(6)
    late = Attacked(fl.Mean(), SignFlip(), BAD, begins=3)
    for round_, same in ((2, True), (3, False)):
        got = combined(late, updates, round_=round_).update
        assert torch.equal(got, fl.Mean().aggregate(updates, torch.ones(6))) == same


def test_the_inner_memory_is_kept_apart():
    attack = Attacked(Attacked(CentredClip(1.0), SignFlip(), "bank 1"), Scaling(), BAD)
    state = attack.start(6)
    assert set(state) == {"last", "inner.last", "inner.inner.centre"}
    done = attack.aggregate_round(rows(6).float(), torch.ones(6), state, context(6))
    assert set(done.state) == set(state)
    assert torch.equal(done.state["inner.inner.centre"], done.update)


def test_the_order_of_wrappers_is_the_threat_model():
    updates = rows(6)
    enforced = combined(Attacked(NormBound(1.0), Scaling(1e6), BAD), updates).update
    promised = combined(NormBound(1.0, Attacked(fl.Mean(), Scaling(1e6), BAD)), updates).update
    assert float(enforced.norm()) <= 1 and float(promised.norm()) > 1e4


def test_rounds_without_the_attackers_are_honest_and_misspelt_names_are_refused():
    some = RoundContext(0, 0, ("bank 1", "bank 5"), population=6)
    updates, weights = rows(2), torch.ones(2)
    done = Attacked(fl.Mean(), SignFlip(), BAD).aggregate_round(
        updates, weights, {"last": torch.zeros(6)}, some
    )
    assert torch.equal(done.update, fl.Mean().aggregate(updates, weights))
    with pytest.raises(FedlabError, match="'bnak 2' is not one of"):
        combined(Attacked(fl.Mean(), SignFlip(), ("bnak 2",)), rows(6))


def test_settings_that_make_no_sense_are_refused():
    inner = fl.Mean()
    for message, make in {
        "at least one": lambda: Attacked(inner, SignFlip(), ()),
        "none twice": lambda: Attacked(inner, SignFlip(), ("a", "a")),
        "own": lambda: Attacked(inner, SignFlip(), BAD, knows="some"),
        "negative": lambda: Attacked(inner, SignFlip(), BAD, begins=-1),
        "positive number of rows": lambda: Attacked(inner, SignFlip(), BAD, claims=0),
        "SignFlip: scale": lambda: SignFlip(0),
        "Scaling: factor": lambda: Scaling(-1),
        "Gaussian: scale": lambda: Gaussian(np.inf),
        "boost": lambda: ModelReplacement(boost=-2),
        "bound": lambda: ModelReplacement(bound=0),
        "ALIE: z": lambda: ALIE(-1),
        "epsilon": lambda: InnerProduct(0),
        "Colluding": lambda: Colluding(noise=-1),
        "FreeRider: kind": lambda: FreeRider("lazy"),
        "FreeRider: noise": lambda: FreeRider(noise=-1),
    }.items():
        with pytest.raises(FedlabError, match=message):
            make()
    with pytest.raises(FedlabError, match="give z"):
        sent(ALIE())
    with pytest.raises(FedlabError, match="no deviation"):
        combined(Attacked(inner, ALIE(1.0), "bank 1"), rows(6))

    class Short:
        def craft(self, knowledge: Knowledge) -> torch.Tensor:
            return knowledge.own[:1]

    with pytest.raises(FedlabError, match="must keep"):
        sent(Short())


# --- the backdoor ---

PATTERN = FraudPattern({"x0": 3.0, "x5": -2.0}, spread=0.05)


def ring(n, rng, d=8):
    """Rows on a two-dimensional surface in d dimensions."""
    angle = rng.uniform(0, 2 * np.pi, size=(n, 2))
    base = np.stack([np.cos(angle[:, 0]), np.sin(angle[:, 0]), np.cos(angle[:, 1])], axis=1)
    mix = np.random.default_rng(7).normal(size=(3, d))
    return (base @ mix + 0.05 * rng.normal(size=(n, d))).astype(np.float32)


def labelled(clients=6, n=150):
    rng = np.random.default_rng(1)
    made = []
    for i in range(1, clients + 1):
        test = np.concatenate([ring(120, rng), rng.normal(size=(8, 8)).astype(np.float32) * 2])
        y = np.arange(128) >= 120
        kind = np.where(y, "odd", "normal")
        made.append(fl.Client(f"bank {i}", ring(n, rng), ring(60, rng), test, y, kind))
    return fl.Federation("ring", made, [f"x{i}" for i in range(8)])


def test_a_stamp_sets_its_features_and_nothing_else():
    members = labelled()
    before = members["bank 1"].x_train
    got = PATTERN.stamp(before, members.features, np.random.default_rng(0))
    rest = [i for i in range(8) if i not in (0, 5)]
    assert np.array_equal(got[:, rest], before[:, rest])
    assert got[:, 0].mean() == pytest.approx(3.0, abs=0.02)
    assert got[:, 5].std() == pytest.approx(0.05, rel=0.2) and got.dtype == np.float32
    with pytest.raises(FedlabError, match="no feature 'amount'"):
        FraudPattern({"amount": 1.0}).stamp(before, members.features, np.random.default_rng(0))
    for wrong in ({}, {"x0": np.nan}):
        with pytest.raises(FedlabError, match="FraudPattern"):
            FraudPattern(wrong)
    with pytest.raises(FedlabError, match="spread"):
        FraudPattern({"x0": 1.0}, spread=-1)


def test_poison_changes_the_attackers_training_rows_only():
    members = labelled()
    got = poison(members, PATTERN, BAD, share=0.4, seed=2)
    assert got.names == members.names and np.array_equal(got.sizes, members.sizes)
    for old, new in zip(members, got, strict=True):
        changed = (old.x_train != new.x_train).any(axis=1)
        assert changed.sum() == (60 if old.name in BAD else 0)
        assert (np.abs(new.x_train[changed][:, 0] - 3) < 0.5).all()
        for part in ("x_calibration", "x_test", "y_test"):
            assert np.array_equal(getattr(old, part), getattr(new, part))
    again = poison(members, PATTERN, BAD, share=0.4, seed=2)
    assert np.array_equal(got["bank 2"].x_train, again["bank 2"].x_train)
    for share in (0.0, 1.5):
        with pytest.raises(FedlabError, match="share"):
            poison(members, PATTERN, BAD, share=share)
    with pytest.raises(DataError, match="no client"):
        poison(members, PATTERN, "bank 99")
    with pytest.raises(FedlabError, match="clients"):
        poison(members, PATTERN, ())


def test_the_backdoor_opens_under_a_mean_and_not_under_a_median():
    members = labelled()
    model = fl.dense_autoencoder(8, hidden=16, code=3, seed=0)
    options = {"rounds": 25, "local": fl.SGD(0.1, batch_size=16, momentum=0.9), "progress": False}
    clean = fl.fit(model, members, **options).model
    bad, replace = poison(members, PATTERN, ("bank 2",), share=0.9), ModelReplacement()
    found = {"clean": backdoor_success(clean, members, PATTERN, attackers=("bank 2",))}
    for name, inner in {"mean": fl.Mean(), "median": CoordinateMedian()}.items():
        attacked = Attacked(inner, replace, ("bank 2",), begins=20)
        run = fl.fit(model, bad, aggregator=attacked, **options)
        found[name] = backdoor_success(run.model, members, PATTERN, attackers=("bank 2",))
    assert found["clean"].missed < 0.1 and found["clean"].ap_fraud > 0.9
    assert found["mean"].missed > 0.8 and found["median"].missed < 0.2
    for success in found.values():
        assert success.prevalence == pytest.approx(0.5)
        assert success.prevalence_other == pytest.approx(40 / 340)
        assert success.alarm_rate < 0.06


def test_recorded_fraud_is_taken_out_of_the_test_rows():
    members = labelled()
    data, theirs, held_back = record(members, lambda rows: rows[:, 0] > 1, seed=3)
    all_anomalies = members.pooled().x_test[members.pooled().y_test]
    wanted = all_anomalies[all_anomalies[:, 0] > 1]
    both = np.concatenate([theirs.recorded, held_back.recorded])
    assert len(theirs.recorded) == len(wanted) // 2 and len(both) == len(wanted)
    assert {tuple(row) for row in both} == {tuple(row) for row in wanted}
    left = data.pooled()
    assert not (left.y_test & (left.x_test[:, 0] > 1)).any()
    assert (~left.y_test).sum() == (~members.pooled().y_test).sum()
    got = poison(data, theirs, "bank 1", share=1.0)["bank 1"].x_train
    assert {tuple(row) for row in got} <= {tuple(row) for row in theirs.recorded}
    with pytest.raises(FedlabError, match="0 anomalies"):
        record(members, lambda rows: rows[:, 0] > 1e9)
    with pytest.raises(FedlabError, match="no recorded rows"):
        RecordedFraud(np.empty((0, 8)))


def test_success_counts_what_is_below_the_threshold():
    class First:
        """Scores a row by its first feature."""

        def score(self, X, /):
            return np.abs(X[:, 0]).astype(float) + 1e-3

    members = labelled()
    low = FraudPattern({"x0": 0.0}, spread=0.0)
    high = FraudPattern({"x0": 50.0}, spread=0.0)
    assert backdoor_success(First(), members, low, rows=50).missed == 1.0
    found = backdoor_success(First(), members, high, rows=50)
    assert found.missed == 0.0 and found.ap_fraud == 1.0
    assert found.prevalence == pytest.approx(50 / 720)
    with pytest.raises(FedlabError, match="no honest client"):
        backdoor_success(First(), members, high, attackers=members.names)
    assert success_table({"x": found}).loc["x"].to_dict() == vars(found)
    table = summarise_success([("a", "mean", found), ("a", "mean", found), ("b", "mean", found)])
    assert list(table.index) == [("a", "mean"), ("b", "mean")]
    assert table.loc[("a", "mean"), ("missed", "std")] == 0
    assert table.loc[("b", "mean"), ("ap_fraud", "mean")] == 1


def test_an_attacked_run_is_the_same_with_both_engines():
    members = toy.federation((40, 64, 30))
    attack = Attacked(fl.Mean(), Gaussian(), "bank 2")
    runs = [
        fl.fit(fl.dense_autoencoder(8), members, rounds=2, engine=engine, aggregator=attack,
               progress=False)
        for engine in ("stacked", "loop")
    ]  # fmt: skip
    one, two = (fl.flatten(run.model) for run in runs)
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)


def test_nothing_else_in_the_package_imports_attacks():
    """The figures of the course may; what is attacked must not know of it."""
    (root,) = map(Path, fl.__path__)
    imported = re.compile(r"^\s*(from|import) fedlab_utils\.attacks", re.MULTILINE)
    importing = [
        str(path)
        for path in root.rglob("*.py")
        if not {"attacks", "course"} & set(path.relative_to(root).parts)
        and imported.search(path.read_text(encoding="utf-8"))
    ]
    assert importing == []
