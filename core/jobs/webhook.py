"""Messages to a webhook: kept in the queue until they were delivered, so that nobody needs an open tab."""

from __future__ import annotations

import json
import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from core.jobs.queue import LONGEST_NOTICE_WAIT_S, Queue

logger = logging.getLogger(__name__)

TIMEOUT_S = 5.0
MAX_TRIES = 6


class WebhookSender:
    """Delivers what is due, in a thread of its own: a slow receiver never delays the queue."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.thread: threading.Thread | None = None

    def deliver_due(self, url: str) -> None:
        """Start a round of deliveries unless one is under way."""
        if self.thread is not None and self.thread.is_alive():
            return
        if self.queue.due_notices(time.time()):
            self.thread = threading.Thread(target=self._round, args=(url,), daemon=True)
            self.thread.start()

    def _round(self, url: str) -> None:
        try:
            for notice, body, tries in self.queue.due_notices(time.time()):
                problem = post(url, body)
                if not problem:
                    self.queue.notice_done(notice)
                elif tries + 1 >= MAX_TRIES:
                    logger.error("a message was given up after %d tries: %s", MAX_TRIES, problem)
                    self.queue.notice_done(notice)
                else:
                    logger.warning("a message could not be delivered, trying again: %s", problem)
                    self.queue.notice_done(notice, again_at=time.time() + min(10.0 * 3**tries, LONGEST_NOTICE_WAIT_S))
        finally:
            self.queue.close()


def post(url: str, body: Mapping[str, Any]) -> str:
    """POST a JSON message; what went wrong in words, '' when the receiver answered 2xx. The address is not told."""
    request = urllib.request.Request(  # noqa: S310 - the schema allows http and https only
        url,
        data=json.dumps(dict(body)).encode(),
        headers={"Content-Type": "application/json", "User-Agent": "latent-diffusion-lab"},
    )
    try:
        with urllib.request.build_opener(_NoRedirects()).open(request, timeout=TIMEOUT_S):
            return ""
    except urllib.error.HTTPError as error:
        return f"the receiver answered {error.code}"
    except (OSError, ValueError) as error:
        return f"{type(error).__name__}: {getattr(error, 'reason', '') or 'no answer'}"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A receiver that moved is an error, not a way into the inner network."""

    def redirect_request(self, *arguments: Any, **named: Any) -> None:
        return None
