//! Readers of argument values that several commands share.
//!
//! What is wrong with a value stands on the first line, what to write instead on a line of its own
//! that begins with `hint:`, as in every other failure.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use crate::model::{InvalidQuantity, Name, duration};

/// A duration such as `30s` or `5m`.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|error| match error {
        InvalidQuantity::NoUnit { number: number @ 1.., .. } => {
            format!("{error}\nhint: write {number}s if you meant seconds")
        }
        _ => format!("{error}\nhint: write a time such as 30s or 5m"),
    })
}

/// The name of a service or a node.
pub(super) fn name(text: &str) -> Result<Name, String> {
    text.parse().map_err(|error: crate::model::InvalidName| error.to_string())
}

/// An address to listen on, such as `127.0.0.1:8080`. `localhost` is the IPv4 loopback, which is
/// what every client tries.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let local = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
    if let Some(port) = local {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    text.parse().map_err(|_| not_an_address(text))
}

/// A network such as `10.0.0.0/8`, or a single address.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let single = || text.parse::<IpAddr>().ok().map(IpNet::from);
    let network = text.parse::<IpNet>().ok().or_else(single);
    network.map(|network| network.trunc()).ok_or_else(|| {
        "it is neither a network nor an address\n\
         hint: write an address with the bits that count, such as 10.0.0.0/8 or 192.0.2.7"
            .to_owned()
    })
}

fn not_an_address(text: &str) -> String {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest).trim_end_matches('/');
    if rest != text && address(rest).is_ok() {
        return format!("an address has no scheme and no path\nhint: write {rest}");
    }
    let port = text.strip_prefix("*:").or(text.strip_prefix(':')).unwrap_or(text);
    if let Ok(port) = port.parse::<u16>() {
        return format!(
            "the address before the port is missing\n\
             hint: write 127.0.0.1:{port} for this machine only, 0.0.0.0:{port} for every network"
        );
    }
    if text == "localhost" {
        return "the port is missing\nhint: write 127.0.0.1:PORT, such as 127.0.0.1:8080"
            .to_owned();
    }
    if let Ok(host) = text.parse::<IpAddr>() {
        let example = SocketAddr::from((host, 8080));
        return format!("the port is missing\nhint: write it behind the address, as in {example}");
    }
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    match (host.parse::<IpAddr>(), port.parse::<u16>()) {
        (Ok(host), Ok(port)) => {
            let address = SocketAddr::from((host, port));
            format!("an IPv6 address stands in brackets\nhint: write {address}")
        }
        (Ok(host), Err(_)) => {
            let address = SocketAddr::from((host, 8080));
            format!("`{port}` is not a port, 0 to 65535\nhint: write {address}")
        }
        (Err(_), _) => "it is not an IP address and a port, and names are not looked up\n\
             hint: write 127.0.0.1:8080 for this machine only, 0.0.0.0:8080 for every network"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(time("5s"), Ok(Duration::from_secs(5)));
        for (text, hint) in [("5", "write 5s "), ("0", "such as 30s"), ("5 days", "such as 30s")] {
            let error = time(text).expect_err(text);
            let (_, hints) = error.split_once("\nhint: ").expect("a hint");
            assert!(hints.contains(hint), "{text}: {error}");
        }
    }

    #[test]
    fn networks_are_read() {
        for (text, network_is) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::1", "::1/128"),
        ] {
            assert_eq!(network(text).expect(text).to_string(), network_is);
        }
        for text in ["", "10.0.0.0/33", "10.0.0/8", "localhost", "*"] {
            assert!(network(text).expect_err(text).contains("\nhint: "), "{text}");
        }
    }

    #[test]
    fn addresses_are_read_or_mended() {
        for (text, address_is) in [
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("localhost:8081", "127.0.0.1:8081"),
            ("[::1]:1", "[::1]:1"),
        ] {
            assert_eq!(address(text).expect(text).to_string(), address_is);
        }
        for (text, hint) in [
            ("8080", "127.0.0.1:8080 for"),
            (":8080", "127.0.0.1:8080 for"),
            ("*:8080", "0.0.0.0:8080 for"),
            ("localhost", "127.0.0.1:8080"),
            ("10.0.0.1", "10.0.0.1:8080"),
            ("::1", "[::1]:8080"),
            ("10.0.0.1:99999", "10.0.0.1:8080"),
            ("http://127.0.0.1:9000/", "127.0.0.1:9000"),
            ("example.com:80", "127.0.0.1:8080 for"),
            ("", "127.0.0.1:8080 for"),
        ] {
            let error = address(text).expect_err(text);
            let (_, hints) = error.split_once("\nhint: ").expect("a hint");
            assert!(hints.contains(hint), "{text}: {error}");
        }
    }
}
