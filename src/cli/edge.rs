//! The options of `wharf serve` about the way to clients: TLS, and proxies before the node.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::config::{EdgeConfig, TlsConfig};
use crate::tls::Sources;

use super::args;
use super::told::Told;

#[derive(Debug, clap::Args)]
pub(super) struct Edge {
    /// Where the load balancer also listens for TLS; port 0 takes a free one
    #[arg(long, value_parser = args::address, value_name = "ADDRESS")]
    tls_listen: Option<SocketAddr>,
    /// A PEM file with a certificate and its chain; may be repeated. The first is shown to clients
    /// that ask for no name that any of them has
    #[arg(long, value_name = "FILE")]
    tls_cert: Vec<PathBuf>,
    /// A PEM file with the key of the --tls-cert in the same position
    #[arg(long, value_name = "FILE")]
    tls_key: Vec<PathBuf>,
    /// A folder of certificates: NAME.crt with NAME.key, or NAME.pem with both in it
    #[arg(long, value_name = "FOLDER")]
    tls_dir: Option<PathBuf>,
    /// Send requests in cleartext to HTTPS, at this port; else at that of --tls-listen
    #[arg(
        long,
        value_name = "PORT",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "0"
    )]
    https_redirect: Option<u16>,
    /// Tell browsers that came by HTTPS to go on so for this time, such as 8760h
    #[arg(long, value_parser = args::time, value_name = "MAX_AGE")]
    hsts: Option<Duration>,
    /// Believe what a proxy at this network says in X-Forwarded-For and X-Forwarded-Proto; may be
    /// repeated
    #[arg(long = "trusted-proxy", value_parser = args::network, value_name = "CIDR")]
    trusted_proxies: Vec<IpNet>,
    /// Expect connections from this network to begin with a header of the PROXY protocol, version
    /// 1 or 2; may be repeated
    #[arg(long, value_parser = args::network, value_name = "CIDR")]
    proxy_protocol: Vec<IpNet>,
}

impl Edge {
    /// What the node is told; options that make no sense together are refused.
    pub(super) fn configure(self) -> Result<EdgeConfig, Told> {
        let (certificates, keys) = (self.tls_cert.len(), self.tls_key.len());
        if certificates != keys {
            let text = format!("--tls-cert is given {certificates} times, --tls-key {keys} times");
            return Err(Told::usage(text).hint("give each --tls-cert its --tls-key"));
        }
        let pairs = self.tls_cert.into_iter().zip(self.tls_key).collect();
        let sources = Sources { pairs, dir: self.tls_dir };
        let tls = match (self.tls_listen, sources != Sources::default()) {
            (Some(listen), true) => Some(TlsConfig { listen, sources }),
            (Some(_), false) => {
                return Err(Told::usage("--tls-listen has no certificate")
                    .hint("add --tls-cert with --tls-key, or --tls-dir"));
            }
            (None, true) => {
                return Err(Told::usage("there is a certificate, but no address for TLS")
                    .hint("add --tls-listen, such as --tls-listen 0.0.0.0:443"));
            }
            (None, false) => None,
        };
        let by_https = tls.is_some() || !self.trusted_proxies.is_empty();
        for (given, name) in
            [(self.https_redirect.is_some(), "--https-redirect"), (self.hsts.is_some(), "--hsts")]
        {
            if given && !by_https {
                let text = format!("{name} is given, but nobody can come by HTTPS");
                return Err(Told::usage(text).hint(
                    "add --tls-listen; or --trusted-proxy, if a proxy before the node ends TLS",
                ));
            }
        }
        Ok(EdgeConfig {
            tls,
            redirect: self.https_redirect,
            hsts: self.hsts,
            trusted_proxies: self.trusted_proxies.into_iter().collect(),
            proxy_protocol: self.proxy_protocol.into_iter().collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        edge: Edge,
    }

    fn configure(line: &str) -> anyhow::Result<EdgeConfig> {
        let words = ["serve"].into_iter().chain(line.split_whitespace());
        Ok(Line::try_parse_from(words)?.edge.configure()?)
    }

    #[test]
    fn nothing_is_the_default() {
        assert_eq!(configure("").expect("valid"), EdgeConfig::default());
    }

    #[test]
    fn certificates_have_keys_and_an_address() {
        let config =
            configure("--tls-listen [::1]:0 --tls-cert a --tls-key b --tls-cert c --tls-key d");
        let tls = config.expect("valid").tls.expect("TLS");
        let pair = |(certificate, key): (&str, &str)| (certificate.into(), key.into());
        let pairs = [("a", "b"), ("c", "d")].map(pair).to_vec();
        assert_eq!(tls.sources, Sources { pairs, dir: None });
        for (line, says) in [
            ("--tls-listen [::1]:0 --tls-cert a", "--tls-cert is given 1 times, --tls-key 0 times"),
            ("--tls-listen [::1]:0", "has no certificate"),
            ("--tls-dir a", "no address for TLS"),
        ] {
            let error = configure(line).expect_err(line);
            assert!(error.to_string().contains(says), "{line}: {error}");
        }
    }

    #[test]
    fn a_redirect_leads_somewhere() {
        let redirect = |line: &str| configure(line).expect(line).redirect;
        let tls = "--tls-listen [::1]:0 --tls-dir a";
        assert_eq!(redirect(&format!("{tls} --https-redirect")), Some(0));
        assert_eq!(redirect(&format!("{tls} --https-redirect=443")), Some(443));
        assert_eq!(redirect("--trusted-proxy 10.0.0.0/8 --https-redirect"), Some(0));
        for line in ["--https-redirect", "--hsts 1h"] {
            let error = configure(line).expect_err(line);
            assert!(error.to_string().contains("nobody can come by HTTPS"), "{error}");
        }
    }
}
