//! The network interface that has an address.

use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;

/// The name of the interface with this address; `None` for loopback, and when there is none.
///
/// Gloo looks its own address up by the machine's host name, and where that leads to 127.0.1.1, as on Debian, ranks of
/// different machines do not find each other. With `GLOO_SOCKET_IFNAME` it asks the interface instead.
pub(crate) fn interface_of(address: &str) -> Option<String> {
    let address: IpAddr = address.parse().ok()?;
    if address.is_loopback() {
        return None;
    }
    let has_it = |interface: &nix::ifaddrs::InterfaceAddress| {
        let own = interface.address.as_ref();
        let v4 = own.and_then(|own| Some(IpAddr::V4(own.as_sockaddr_in()?.ip())));
        let v6 = own.and_then(|own| Some(IpAddr::V6(own.as_sockaddr_in6()?.ip())));
        v4.or(v6) == Some(address)
    };
    getifaddrs().ok()?.find(has_it).map(|interface| interface.interface_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_needs_no_interface_and_an_address_of_nobody_has_none() {
        assert_eq!(interface_of("127.0.0.1"), None);
        assert_eq!(interface_of("192.0.2.1"), None);
        assert_eq!(interface_of("host"), None);
    }

    #[test]
    fn each_address_of_this_machine_has_an_interface() {
        for interface in getifaddrs().unwrap() {
            let Some(address) = interface.address.and_then(|own| Some(own.as_sockaddr_in()?.ip()))
            else {
                continue;
            };
            if !address.is_loopback() {
                assert!(interface_of(&address.to_string()).is_some(), "{address}");
            }
        }
    }
}
