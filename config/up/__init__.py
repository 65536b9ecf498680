"""`manage.py up`: the whole product as one command, on one machine.

    up ─┬─ broker            first to start, last to stop
        ├─ web               uvicorn
        ├─ worker-transfer   Celery, queue `transfer`
        ├─ worker-general    Celery, queue `general`
        └─ beat              the clock

`plan` says what runs, `supervisor` keeps it running and stops it in order, `output` turns log lines
into what a person reads, `readiness` knows when everybody answers, `lock` lets one `up` at a time
own a data directory, `lifeline` lets no process outlive `up`.
"""
