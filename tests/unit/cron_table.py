#!/usr/bin/env python3
"""Makes tests/unit/cron_table.h: what test_cron.c compares cron.c with.

An independent and slow reckoning with Python's zoneinfo: every minute of a year is looked at on its own. Run it again after
adding a case:  python3 tests/unit/cron_table.py > tests/unit/cron_table.h
"""
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

NAMES = {n: i + 1 for i, n in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split())}
NAMES |= {n: i for i, n in enumerate("sun mon tue wed thu fri sat".split())}
BOUNDS = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)]

ZONES = ["Europe/Brussels", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Sao_Paulo", "Africa/Casablanca",
         "Pacific/Chatham", "Europe/Dublin", "America/Santiago", "Asia/Gaza", "UTC"]
EXPRESSIONS = ["0 7-8 * * *", "0 7,9 * * *", "0,15,30,45 6-22 * * *", "*/15 * * * *", "30 2 * * *", "0 2 * * *", "15,45 1-3 * * *",
               "*/20 1-3 * * *", "0 */2 * * *", "5 0 1,15 * fri", "10 4 * * mon-fri", "0 0 29 2 *", "0 12 */10 * *",
               "59 23 31 dec,mar *", "0 0 * * *", "7 3 * * 0,7"]
YEARS = [2024, 2025, 2026]
UNSETTLED = {"Asia/Gaza", "Africa/Casablanca"}  # announced anew each year: what is past only
ODD = [("Pacific/Apia", "0 12 * * *", 2011), ("Pacific/Apia", "30 5 30 12 *", 2011),
       ("America/Caracas", "15 3 * * *", 2016), ("Europe/London", "30 1 * * *", 1971)]


def number(text):
    return NAMES[text.lower()] if text.lower() in NAMES else int(text)


def field(text, low, high):
    values = set()
    for item in text.split(","):
        span, _, step = item.partition("/")
        first, last = low, high
        if span != "*":
            a, dash, b = span.partition("-")
            first = number(a)
            last = number(b) if dash else (high if step else first)
        values |= set(range(first, last + 1, int(step or 1)))
    if (low, high) == (0, 6):
        values = {v % 7 for v in values}
    return values


class Cron:
    def __init__(self, text):
        parts = text.split()
        self.sets = [field(p, *b) for p, b in zip(parts, BOUNDS)]
        self.either = parts[2][0] != "*" and parts[4][0] != "*"
        self.every_hour = len(self.sets[1]) == 24
        self.repeats = self.every_hour or parts[0][0] == "*"

    def matches(self, local):
        minute, hour, day, month, weekday = self.sets
        if local.minute not in minute or local.hour not in hour or local.month not in month:
            return False
        by_day, by_weekday = local.day in day, local.isoweekday() % 7 in weekday
        return by_day or by_weekday if self.either else by_day and by_weekday


def local_minutes(zone, year):
    """(unix seconds, naive local time, second of two, local minutes that were skipped just before) of a UTC year."""
    at = datetime(year, 1, 1, tzinfo=timezone.utc)
    end = datetime(year + 1, 1, 1, tzinfo=timezone.utc)
    minute = timedelta(minutes=1)
    before = (at - minute).astimezone(zone).utcoffset()
    while at < end:
        here = at.astimezone(zone)
        offset = here.utcoffset()
        naive = here.replace(tzinfo=None, fold=0)
        gap = [naive - minute * k for k in range(int((offset - before) / minute), 0, -1)]
        yield int(at.timestamp()), naive, here.fold == 1, gap
        before = offset
        at += minute


def fires(cron, minutes):
    for at, naive, second, gap in minutes:
        missed = not cron.every_hour and any(cron.matches(g) for g in gap)
        if missed or (cron.matches(naive) and (cron.repeats or not second)):
            yield at


def row(zone, expression, year, minutes):
    value, count, first, last = 0xCBF29CE484222325, 0, 0, 0
    for at in fires(Cron(expression), minutes):
        for byte in at.to_bytes(8, "little", signed=True):
            value = ((value ^ byte) * 0x100000001B3) % 2**64
        count, first, last = count + 1, first or at, at
    print(f'    {{"{zone}", "{expression}", {year}, {count}, {first}, {last}, UINT64_C(0x{value:016x})}},')


def main():
    print("/* made by cron_table.py: zone, expression, UTC year, how often, first, last, FNV-1a of all times as 8 bytes each */")
    print("static const struct cron_year { const char *zone, *expression; int year; size_t count; int64_t first, last; "
          "uint64_t hash; } cron_years[] = {")
    for zone in ZONES:
        for year in YEARS[:1] if zone in UNSETTLED else YEARS:
            minutes = list(local_minutes(ZoneInfo(zone), year))
            for expression in EXPRESSIONS:
                row(zone, expression, year, minutes)
    for zone, expression, year in ODD:
        row(zone, expression, year, local_minutes(ZoneInfo(zone), year))
    print("};")


main()
