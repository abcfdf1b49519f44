//! Watches as they go out: bytes whenever the world has changed, until the client has enough.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use jiff::SignedDuration;
use tokio::sync::watch::Receiver;

use super::Body;
use super::clock::Baton;
use super::kube::watch::Watch;

/// What the clock of a watch says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tick {
    /// It is time for a bookmark.
    Bookmark,
    /// It is over.
    End,
}

/// The clock of a watch.
pub type Ticks = Pin<Box<dyn Stream<Item = Tick> + Send>>;

/// How often a watch gets a bookmark.
const BOOKMARKS: SignedDuration = SignedDuration::from_secs(60);

/// The clock of a watch in virtual time. It lasts until the client drops it where it names no time.
pub(super) fn virtual_ticks(baton: Arc<Baton>, lasts: Option<Duration>) -> Ticks {
    let now = baton.world().now;
    let end = lasts.map(|lasts| {
        let lasts = SignedDuration::try_from(lasts).unwrap_or(SignedDuration::MAX);
        now.checked_add(lasts).unwrap_or(jiff::Timestamp::MAX)
    });
    let state = (baton.changes(), baton, now + BOOKMARKS);
    Box::pin(stream::unfold(state, move |(mut changes, baton, next)| async move {
        loop {
            changes.mark_unchanged();
            let now = baton.world().now;
            if end.is_some_and(|end| end <= now) {
                return Some((Tick::End, (changes, baton, next)));
            }
            if next <= now {
                return Some((Tick::Bookmark, (changes, baton, now + BOOKMARKS)));
            }
            changes.changed().await.ok()?;
        }
    }))
}

struct Following {
    baton: Arc<Baton>,
    changes: Receiver<u64>,
    watch: Box<Watch>,
    ticks: Ticks,
}

/// A body of the events of a watch.
pub(super) fn follow(baton: Arc<Baton>, watch: Box<Watch>, ticks: Ticks) -> Body {
    let begun = Following { changes: baton.changes(), baton, watch, ticks };
    let frames = stream::unfold(Some(begun), |following| async move {
        let mut following = following?;
        let (bytes, goes_on) = following.next().await?;
        Some((Ok(Frame::data(Bytes::from(bytes))), goes_on.then_some(following)))
    });
    StreamBody::new(frames).boxed_unsync()
}

impl Following {
    /// The next bytes, and whether more may follow; `None`: it is over.
    async fn next(&mut self) -> Option<(Vec<u8>, bool)> {
        loop {
            self.changes.mark_unchanged();
            let told = self.watch.take(&self.baton.world())?;
            if !told.is_empty() {
                return Some((told, true));
            }
            tokio::select! {
                biased;
                tick = self.ticks.next() => {
                    let goes_on = tick == Some(Tick::Bookmark);
                    let bookmark = if goes_on { self.watch.bookmark() } else { self.watch.farewell() };
                    if !bookmark.is_empty() || !goes_on {
                        return (!bookmark.is_empty()).then_some((bookmark, goes_on));
                    }
                }
                changed = self.changes.changed() => changed.ok()?,
            }
        }
    }
}
