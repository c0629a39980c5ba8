//! Where a server is: a host name or an IP address, and a port.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use veilsum::transport::Addresses;

use crate::error::CliError;

/// What stands behind `--server`. A name is looked up when it is needed; whom it leads to does not matter for security, for a
/// server is known by its key and never by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host(String);

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Host {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = text.rsplit_once(':').is_some_and(|(name, port)| {
            let letters = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | '_');
            !name.is_empty() && name.chars().all(letters) && port.parse::<u16>().is_ok()
        });
        if named || text.parse::<SocketAddr>().is_ok() {
            Ok(Self(text.to_owned()))
        } else {
            Err(
                "write a host name or an IP address, and a port, for example veilsum.example.org:7000 or [2001:db8::1]:7000",
            )
        }
    }
}

impl Host {
    /// All addresses that it has.
    ///
    /// # Errors
    /// [`CliError::Lookup`].
    pub(crate) async fn resolve(&self) -> Result<Addresses, CliError> {
        if let Ok(address) = self.0.parse::<SocketAddr>() {
            return Ok(address.into());
        }
        let failed = |kind| CliError::Lookup {
            host: self.clone(),
            kind,
        };
        let found = tokio::net::lookup_host(&self.0).await;
        let found = found.map_err(|error| failed(error.kind()))?;
        Addresses::of_name(found).ok_or_else(|| failed(std::io::ErrorKind::NotFound))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_an_address() {
        for text in [
            "127.0.0.1:7000",
            "[::1]:7000",
            "localhost:7000",
            "a-b.example.org:1",
        ] {
            assert_eq!(text.parse::<Host>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "localhost",
            ":7000",
            "localhost:",
            "localhost:70000",
            "::1:7000",
            "a b:1",
            "https://a:1",
        ] {
            assert!(text.parse::<Host>().is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn names_are_looked_up() {
        let host: Host = "localhost:7000".parse().unwrap();
        let addresses = host.resolve().await.unwrap();
        assert!(
            addresses
                .iter()
                .all(|address| address.ip().is_loopback() && address.port() == 7000)
        );
        let host: Host = "[::1]:7000".parse().unwrap();
        let only: SocketAddr = "[::1]:7000".parse().unwrap();
        assert_eq!(host.resolve().await.unwrap(), only.into());
    }
}
