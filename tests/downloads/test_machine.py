"""Any order of commands, workers, deaths and sweeps keeps the promises of the queue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db.models.functions import Now
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from pytest_django import Settings

from config.errors import ModelyardError
from downloads import claims, dispatcher, reconciler, services, stages, transitions
from downloads.claims import Stop
from downloads.errors import IllegalTransition, LostClaim
from downloads.ledger import DatabaseLedger
from downloads.models import Download, PartialFile, Slot
from downloads.states import FINAL, RUNNING, DownloadStatus
from downloads.transitions import Claim
from registry.models import Root
from registry.roots import default_root, partials_dir
from tests.factories import make_download, make_user, sha256_of
from transfer.errors import Interrupted, RemoteGone, StopRequested

S = DownloadStatus
SLOTS = 2
FOLLOWS = {S.DOWNLOADING: S.VERIFYING, S.VERIFYING: S.REGISTERING, S.REGISTERING: S.COMPLETED}


@dataclass
class Worker:
    """A claim that somebody believes to hold, and the status it was taken in."""

    claim: Claim
    status: S


class Queue(RuleBasedStateMachine):
    rows = Bundle("rows")
    workers = Bundle("workers")

    def __init__(self) -> None:
        super().__init__()
        for model in (Slot, PartialFile, Download):
            model.objects.all().delete()
        self.attempts: dict[int, int] = {}
        self.alive: list[Worker] = []

    @initialize()
    def begin(self) -> None:
        self.root: Root = default_root()
        self.user = make_user()

    # --- People -------------------------------------------------------------------------------
    @rule(target=rows, key=st.integers(0, 3), wish=st.sampled_from(["link", "keep"]))
    def create(self, key: int, wish: str) -> int:
        row = make_download(
            source_key=sha256_of(f"key {key}"), on_duplicate=wish, downloaded_bytes=0,
            initiated_by=self.user,
        )  # fmt: skip
        return int(row.pk)

    @rule(target=rows, n=st.integers(2, 3))
    def create_bundle(self, n: int) -> int:
        parent = make_download(is_bundle=True, downloaded_bytes=0, initiated_by=self.user)
        for _number in range(n):
            make_download(parent=parent, downloaded_bytes=0, initiated_by=self.user)
        return int(parent.pk)

    @rule(pk=rows, command=st.sampled_from(["pause", "resume", "cancel", "retry", "finalize"]))
    def command(self, pk: int, command: str) -> None:
        row = Download.objects.get(pk=pk)
        if command == "finalize" and row.is_bundle:
            return
        before = row.status
        try:
            after = getattr(services, command)(download=row, user=self.user).status
        except IllegalTransition:
            assert Download.objects.get(pk=pk).status == before
            return
        assert (
            row.is_bundle
            or after
            in {
                "pause": {S.PAUSED},
                "resume": {S.QUEUED},
                "cancel": {S.CANCELLED},
                "retry": {S.QUEUED},
                "finalize": {S.REGISTERING, S.COMPLETED},
            }[command]
        )

    # --- Workers ------------------------------------------------------------------------------
    @rule()
    def dispatch(self) -> None:
        dispatcher.dispatch()

    @rule(target=workers, data=st.data())
    def deliver_messages(self, data: st.DataObject) -> Worker | None:
        """Any stage of any row, in any order and any number of times."""
        pks = sorted(Download.objects.files().values_list("pk", flat=True))
        if not pks:
            return None
        pk = data.draw(st.sampled_from(pks))
        status = data.draw(st.sampled_from(sorted(RUNNING)))
        claim = claims.take(pk, S(status))
        assert claims.take(pk, S(status)) is None, "the second message finds nothing"
        if claim is None:
            return None
        worker = Worker(claim, S(status))
        self.alive.append(worker)
        return worker

    @rule(worker=workers)
    def write_bytes(self, worker: Worker | None) -> None:
        if worker is None or worker.status != S.DOWNLOADING:
            return
        name = f"{worker.claim.owner[-12:]}.part"
        try:
            DatabaseLedger(worker.claim, self.root).begin(name, 100, "", "")
        except LostClaim:
            return
        (partials_dir(self.root) / name).write_bytes(b"x")

    @rule(worker=workers)
    def finish_stage(self, worker: Worker | None) -> None:
        values: dict[str, Any] = {"pickup_deadline": claims.pickup()}
        target = FOLLOWS[worker.status] if worker else S.QUEUED
        if target == S.COMPLETED:
            values = {"completed_at": Now()}
        self._as_worker(worker, lambda run: run.move(target, **values))

    @rule(worker=workers)
    def ask_for_review(self, worker: Worker | None) -> None:
        if worker is not None and worker.status == S.VERIFYING:
            self._as_worker(worker, lambda run: run.move(S.REVIEW))

    @rule(
        worker=workers,
        error=st.sampled_from([Interrupted("cut"), RemoteGone("gone", status=404)]),
    )
    def fail_stage(self, worker: Worker | None, error: ModelyardError) -> None:
        self._as_worker(worker, lambda run: stages.settle(run, error))

    @rule(worker=workers, reason=st.sampled_from([Stop.SHUTDOWN, Stop.ASKED, Stop.COMMAND]))
    def stop_stage(self, worker: Worker | None, reason: Stop) -> None:
        if worker is None:
            return
        seen = Download.objects.get(pk=worker.claim.download_id).status
        if reason is Stop.COMMAND and seen == worker.status:
            return  # Nobody gave one.
        self._as_worker(worker, lambda run: stages.settle(run, StopRequested("stop")), reason)

    @rule(worker=workers)
    def kill_worker(self, worker: Worker | None) -> None:
        if worker in self.alive:
            self.alive.remove(worker)
            claims.owned(worker.claim).update(
                lease_expires_at=timezone.now() - timedelta(minutes=1)
            )

    def _as_worker(
        self, worker: Worker | None, act: Callable[[stages.Run], None], reason: Stop | None = None
    ) -> None:
        if worker is None:
            return
        had = claims.owned(worker.claim).exists()
        before = Download.objects.values().get(pk=worker.claim.download_id)
        run = stages.Run(
            Download.objects.get(pk=worker.claim.download_id),
            worker.claim,
            SimpleNamespace(reason=reason),  # type: ignore[arg-type]
        )
        try:
            act(run)
        except LostClaim:
            assert not had
        except IllegalTransition:
            stages.settle(run, StopRequested("stop"))
        if not had:
            assert Download.objects.values().get(pk=worker.claim.download_id) == before
        assert not claims.owned(worker.claim).exists()
        if worker in self.alive:
            self.alive.remove(worker)

    # --- Time ---------------------------------------------------------------------------------
    @rule()
    def let_time_pass(self) -> None:
        past = timezone.now() - timedelta(seconds=1)
        Download.objects.filter(retry_at__isnull=False).update(retry_at=past)
        Download.objects.filter(pickup_deadline__isnull=False).update(pickup_deadline=past)

    @rule()
    def sweep(self) -> None:
        for pk, status in reconciler.reconcile():
            assert Download.objects.get(pk=pk).status == status

    # --- What always holds ----------------------------------------------------------------------
    @invariant()
    def slots_are_held_by_running_rows_and_never_too_many(self) -> None:
        taken = list(Slot.objects.filter(download__isnull=False).select_related("download"))
        assert len(taken) <= SLOTS
        assert all(slot.download.status in RUNNING for slot in taken)
        downloading = Download.objects.files().filter(status=S.DOWNLOADING)
        assert set(downloading.values_list("pk", flat=True)) <= {slot.download_id for slot in taken}
        assert not Slot.objects.filter(download=None, source_key__isnull=False).exists()

    @invariant()
    def rows_are_what_they_may_be(self) -> None:
        living = {worker.claim.owner for worker in self.alive}
        now = timezone.now()
        children: dict[int, list[str]] = {}
        bundles: list[Download] = []
        for row in Download.objects.all():
            assert row.attempt >= self.attempts.get(row.pk, 0), "attempts only grow"
            self.attempts[row.pk] = row.attempt
            if row.owner and row.lease_expires_at and row.lease_expires_at > now:
                assert row.owner in living, "an owner is alive, or its lease ran out"
            assert row.crash_count < 3 or row.status not in RUNNING, "three deaths are the end"
            if row.parent_id is not None:
                children.setdefault(row.parent_id, []).append(row.status)
            if row.is_bundle:
                bundles.append(row)
        for bundle in bundles:
            assert bundle.status == transitions.bundle_status(children[bundle.pk])
            assert (bundle.completed_at is not None) == (bundle.status in FINAL)

    @invariant()
    def cancelled_rows_that_nobody_holds_have_no_bytes(self) -> None:
        held = Download.objects.filter(status=S.CANCELLED, owner="", partial__isnull=False)
        assert not held.exists()

    def teardown(self) -> None:
        """Whatever happened, everything can still come to an end."""
        for worker in list(self.alive):
            self.kill_worker(worker)
        coming = Download.objects.files().exclude(status__in=[*FINAL, S.PAUSED, S.REVIEW])
        # A pass brings as many stages further as there are slots; a row has three of them.
        for _pass in range(60 + 3 * coming.count()):
            if not coming.exists():
                break
            self.let_time_pass()
            self.sweep()
            for pk in Download.objects.running().filter(owner="").values_list("pk", flat=True):
                row = Download.objects.get(pk=pk)
                if (claim := claims.take(pk, S(row.status))) is not None:
                    self.finish_stage(Worker(claim, S(row.status)))
        assert not coming.exists(), coming.values("status", "owner", "attempt")


@pytest.mark.django_db
@pytest.mark.both_databases
def test_the_queue_keeps_its_promises(models_dir: Path, settings: Settings) -> None:
    settings.MAX_CONCURRENT_DOWNLOADS = SLOTS
    run_state_machine_as_test(Queue, settings=BUDGET)


BUDGET = settings(
    max_examples=6,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
