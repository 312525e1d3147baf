"""The limit of requests is exact: a bucket that fills, said plainly, lets through just those that rate_count lets through."""
import subprocess

import pytest

from daemon import BUILD

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import given, settings, strategies as some  # noqa: E402

SECOND = 10**9
START = 1000 * 86400 * SECOND


@pytest.fixture(scope="module")
def ask():
    """What rate_count answers for a rule and a list of moments."""
    oracle = subprocess.Popen([str(BUILD / "tests" / "oracle_rate")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def asked(requests, seconds, burst, moments):
        oracle.stdin.write(f"{requests} {seconds} {burst} {len(moments)} {' '.join(map(str, moments))}\n")
        oracle.stdin.flush()
        words = [int(word) for word in oracle.stdout.readline().split()]
        return [tuple(words[i:i + 4]) for i in range(0, len(words), 4)]

    yield asked
    oracle.stdin.close()
    assert oracle.wait(10) == 0


rules = some.tuples(some.integers(1, 10**6), some.integers(1, 86400), some.just(0) | some.integers(1, 1000)).filter(lambda r: r[1] * SECOND // r[0] > 0)
# how long after the one before, in parts of what one request costs: at once, a hair less, exactly, a hair more, long
gaps = some.lists(some.tuples(some.sampled_from([0, 0, 0, 1, 1, 2, 5, 1000]), some.integers(-2, 2)), min_size=1, max_size=60)


@settings(max_examples=1000, deadline=None, database=None)
@given(rule=rules, gaps=gaps)
def test_as_many_are_let_through_as_were_promised_and_no_more(ask, rule, gaps):
    requests, seconds, burst = rule
    each, most = seconds * SECOND // requests, (burst or requests)
    moments, now = [], START
    for parts, hair in gaps:
        now += max(0, parts * each + hair)
        moments.append(now)
    left, last, through = most * each, moments[0], []  # a bucket, in ns: each request takes `each` of it, and so does time give back
    for moment, (allowed, remaining, retry, full) in zip(moments, ask(requests, seconds, burst, moments), strict=True):
        left, last = min(most * each, left + moment - last), moment
        assert allowed == (left >= each)
        assert retry == (0 if allowed else each - left)
        left -= each * allowed
        assert remaining == left // each and full == most * each - left
        through += [moment] * allowed
    for i, first in enumerate(through):  # the promise itself: in no stretch of time more than the burst and what came back meanwhile
        for count, moment in enumerate(through[i:], 1):
            assert count <= most + (moment - first) // each
