//! A peer that is slower than the minimum rate is cut.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Duration, Instant, timeout_at};

/// Why reading or writing stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The peer moved fewer bytes than the minimum rate asks for.
    TooSlow,
    /// The deadline of the request passed.
    Deadline,
    /// The stream failed.
    Io(io::Error),
}

/// Counts the bytes a peer moved against the time spent waiting for it.
///
/// The peer has `grace` plus one second for each `min_rate` bytes; only waiting counts, so that a slow disk or a full
/// budget of ours is not held against it.
#[derive(Debug)]
pub(crate) struct Pacer {
    grace: Duration,
    min_rate: u64,
    bytes: u64,
    waited: Duration,
    deadline: Option<Instant>,
}

impl Pacer {
    pub(crate) fn new(grace: Duration, min_rate: u64) -> Self {
        Self {
            grace,
            min_rate: min_rate.max(1),
            bytes: 0,
            waited: Duration::ZERO,
            deadline: None,
        }
    }

    pub(crate) fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = Some(deadline);
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn left(&self) -> Duration {
        let micros = u128::from(self.bytes) * 1_000_000 / u128::from(self.min_rate);
        let earned = Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
        self.grace
            .saturating_add(earned)
            .saturating_sub(self.waited)
    }

    async fn wait(&mut self, io: impl Future<Output = io::Result<usize>>) -> Result<usize, Stop> {
        let start = Instant::now();
        let slow_at = start.checked_add(self.left());
        let until = match (slow_at, self.deadline) {
            (Some(slow), Some(deadline)) => Some(slow.min(deadline)),
            (slow, deadline) => slow.or(deadline),
        };
        let moved = match until {
            Some(until) => timeout_at(until, io).await,
            None => Ok(io.await),
        };
        self.waited = self.waited.saturating_add(start.elapsed());
        match moved {
            Ok(Ok(count)) => {
                self.bytes = self
                    .bytes
                    .saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
                Ok(count)
            }
            Ok(Err(error)) => Err(Stop::Io(error)),
            Err(_) if self.deadline.is_some_and(|at| at <= Instant::now()) => Err(Stop::Deadline),
            Err(_) => Err(Stop::TooSlow),
        }
    }

    /// Reads some bytes; 0 at the end of the stream.
    pub(crate) async fn read<R: AsyncRead + Unpin>(
        &mut self,
        reader: &mut R,
        buffer: &mut [u8],
    ) -> Result<usize, Stop> {
        self.wait(reader.read(buffer)).await
    }

    /// Writes all bytes.
    pub(crate) async fn write_all<W: AsyncWrite + Unpin>(
        &mut self,
        writer: &mut W,
        mut bytes: &[u8],
    ) -> Result<(), Stop> {
        while !bytes.is_empty() {
            let count = self.wait(writer.write(bytes)).await?;
            if count == 0 {
                return Err(Stop::Io(io::ErrorKind::WriteZero.into()));
            }
            bytes = bytes.get(count..).unwrap_or_default();
        }
        Ok(())
    }

    /// Ends the written side.
    pub(crate) async fn finish<W: AsyncWrite + Unpin>(
        &mut self,
        writer: &mut W,
    ) -> Result<(), Stop> {
        self.wait(async { writer.shutdown().await.map(|()| 0) })
            .await
            .map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_earn_time_and_waiting_spends_it() {
        let mut pacer = Pacer::new(Duration::from_secs(2), 1000);
        assert_eq!(pacer.left(), Duration::from_secs(2));
        pacer.bytes = 5000;
        pacer.waited = Duration::from_secs(4);
        assert_eq!(pacer.left(), Duration::from_secs(3));
        pacer.waited = Duration::from_secs(9);
        assert_eq!(pacer.left(), Duration::ZERO);
        pacer.bytes = u64::MAX;
        assert!(pacer.left() > Duration::from_secs(1_000_000));
    }

    #[tokio::test]
    async fn a_silent_peer_is_cut_after_the_grace() {
        let (mut reader, _silent) = tokio::io::duplex(8);
        let mut pacer = Pacer::new(Duration::from_millis(20), 1);
        let stopped = pacer.read(&mut reader, &mut [0; 4]).await;
        assert!(matches!(stopped, Err(Stop::TooSlow)));
        pacer.set_deadline(Instant::now());
        let stopped = pacer.read(&mut reader, &mut [0; 4]).await;
        assert!(matches!(stopped, Err(Stop::Deadline)));
    }
}
