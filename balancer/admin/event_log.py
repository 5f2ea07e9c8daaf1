"""The events of the registry as log lines: once per change, with the reason. It never decides what happened."""

from twisted.logger import Logger, LogLevel

from balancer.core.events import (
    Advised,
    BackendDown,
    BackendUp,
    ConfigApplied,
    Drained,
    Ejected,
    Enabled,
    Event,
    HealthUnknown,
    Maintained,
    MembersChanged,
    PanicEntered,
    PanicLeft,
    Readmitted,
)

WORDS: dict[type[Event], tuple[LogLevel, str]] = {
    BackendUp: (LogLevel.info, "{subject} is up: {reason}"),
    BackendDown: (LogLevel.warn, "{subject} is down: {reason}"),
    HealthUnknown: (LogLevel.info, "{subject} is not judged: {reason}"),
    Ejected: (LogLevel.warn, "{subject} is ejected: {reason}"),
    Readmitted: (LogLevel.info, "{subject} is readmitted: {reason}"),
    Drained: (LogLevel.info, "{subject} is draining: {reason}"),
    Maintained: (LogLevel.info, "{subject} is in maintenance: {reason}"),
    Enabled: (LogLevel.info, "{subject} is enabled: {reason}"),
    Advised: (LogLevel.info, "{subject} is advised: {reason}"),
    MembersChanged: (LogLevel.info, "upstream {subject}: {reason}"),
    PanicEntered: (LogLevel.critical, "upstream {subject} panics: {reason}"),
    PanicLeft: (LogLevel.info, "upstream {subject} no longer panics: {reason}"),
    ConfigApplied: (LogLevel.info, "{subject} applied: {reason}"),
}
"""Every kind of event, how loud it is, and its line."""


class EventLog:
    """Writes each event it is called with; subscribe it to a registry."""

    log = Logger()

    def __call__(self, event: Event) -> None:
        """Write one line."""
        level, words = WORDS.get(type(event), (LogLevel.info, "{subject}: {reason}"))
        self.log.emit(level, words, subject=event.subject, reason=event.reason, event=type(event).__name__)
