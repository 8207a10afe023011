"""Trackers as a user may bring them."""


class Listener:
    def __init__(self):
        self.calls = []

    def log(self, *told):
        self.calls.append(("log", *told))

    def log_missing(self, *told):
        self.calls.append(("log_missing", *told))

    def log_report(self, *told):
        self.calls.append(("log_report", *told))


class Raising:
    def log(self, *_):
        raise ValueError("the disk is on fire")

    log_missing = log_report = log
