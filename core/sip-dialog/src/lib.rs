//! Dialog id, route set, CSeq; early and confirmed dialogs, and forks.
