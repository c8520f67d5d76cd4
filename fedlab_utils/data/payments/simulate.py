"""Simulates banks, customers and their normal payments. Taught in chapter 01."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedlab_utils.data.payments import config as world
from fedlab_utils.data.payments.config import DAY, WARMUP_DAYS, PaymentsConfig
from fedlab_utils.data.payments.transactions import Transactions

STREAM = 0x9A7  # separates the generator's random numbers from everything else with the same seed
GOLDEN = 0.6180339887498949


@dataclass(frozen=True)
class Bank:
    """What makes one bank differ from the market; all zero (and the market's mix) at shift 0."""

    customers: int
    mix: np.ndarray  # [segments] share of each customer segment
    log_price: float
    log_distance: float
    log_rate: float
    hours: float


def bank_profile(config: PaymentsConfig, index: int) -> Bank:
    """Bank `index` of the market; every departure from the market is proportional to shift.

    Sizes follow a golden-ratio sequence through a log-normal law, so that any number of banks
    is well spread; a bank never depends on how many banks there are.
    """
    market = np.random.default_rng([config.seed, STREAM])
    start, order = market.random(), market.permutation(len(world.SEGMENTS))
    own = np.random.default_rng([config.seed, STREAM, index, 0])
    price, distance, rate, hours = np.clip(own.standard_normal(4), -2, 2)
    # The logistic quantile is close to the normal one and needs no scipy.
    u = min(max((start + GOLDEN * index) % 1, 0.02), 0.98)
    z = np.log(u / (1 - u)) / 1.7
    size = config.customers * np.exp(config.shift * (0.6 * z - 0.18))
    main = order[index % len(order)]
    second = order[(index + 1 + own.integers(len(order) - 1)) % len(order)]
    extreme = np.zeros(len(order))
    extreme[main] += 0.8
    extreme[second] += 0.2
    return Bank(
        customers=max(3, round(size)),
        mix=(1 - config.shift) * world.SEGMENT_SHARE + config.shift * extreme,
        log_price=0.35 * config.shift * price,
        log_distance=0.35 * config.shift * distance,
        log_rate=0.15 * config.shift * rate,
        hours=0.8 * config.shift * hours,
    )


def normal_payments(config: PaymentsConfig, index: int, bank: Bank) -> Transactions:
    """Normal payments of one bank, ordered by customer, then time; customers count from 0.

    Counts are Poisson per customer and day with a weekday season; the category's density over
    the day makes it an inhomogeneous Poisson process in the hour as well.
    """
    rng = np.random.default_rng([config.seed, STREAM, index, 1])
    n = bank.customers
    segment = rng.choice(len(bank.mix), size=n, p=bank.mix)
    level = world.SEGMENT_LOG_AMOUNT[segment] + 0.35 * rng.standard_normal(n) + bank.log_price
    radius = world.SEGMENT_LOG_DISTANCE[segment] + 0.35 * rng.standard_normal(n) + bank.log_distance
    later = 0.5 * rng.standard_normal(n) + bank.hours
    log_rate = world.SEGMENT_LOG_RATE[segment] + 0.4 * rng.standard_normal(n) + bank.log_rate
    rate = config.payments_per_day * np.exp(log_rate - 0.08)  # -0.08 = -0.4**2 / 2: mean stays
    preference = rng.gamma(12 * world.SEGMENT_PREFERENCE[segment])  # Dirichlet, once normalised

    days = np.arange(-WARMUP_DAYS, config.days)
    weekend = days % 7 >= 5
    factor = world.SEGMENT_WEEKEND[segment][:, None]
    week = np.where(weekend, factor, 1.0) * 7 / (5 + 2 * factor)
    counts = rng.poisson(rate[:, None] * week)
    customer = np.repeat(np.arange(n), counts.sum(axis=1))
    day = np.repeat(np.broadcast_to(days, counts.shape).ravel(), counts.ravel())

    choice = np.stack([preference, preference * world.WEEKEND])  # [weekday|weekend, n, C]
    choice = np.cumsum(choice / choice.sum(axis=2, keepdims=True), axis=2)
    m = len(customer)
    table = choice[(day % 7 >= 5).astype(int), customer, :-1]
    category = (rng.random(m)[:, None] > table).sum(axis=1)
    online = rng.random(m) < world.ONLINE[category]

    seg = segment[customer]
    occasion = rng.standard_normal(m)
    load = world.SEGMENT_LOADING[seg]
    log_amount = level[customer] + world.LOG_AMOUNT[category] + load[:, 0] * occasion
    log_amount += 0.15 * rng.standard_normal(m)
    log_km = radius[customer] + world.LOG_DISTANCE[category] + load[:, 1] * occasion
    log_km = np.where(online, -2.0, log_km) + 0.2 * rng.standard_normal(m)
    hour = world.PEAK_HOUR[category] + world.SEGMENT_HOUR[seg, category] + later[customer]
    hour += load[:, 2] * occasion + world.HOUR_SD[category] * rng.standard_normal(m)
    return Transactions(
        bank=np.full(m, index),
        customer=customer,
        time=day * DAY + (hour * 3600 % DAY).astype(np.int64),
        cents=np.maximum(np.rint(100 * np.exp(log_amount)), 1).astype(np.int64),
        metres=np.rint(1000 * np.exp(log_km)).astype(np.int64),
        category=category,
        online=online,
        kind=np.zeros(m, dtype=np.int64),
    ).by_customer()
