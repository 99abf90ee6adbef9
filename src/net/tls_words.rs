//! What rustls and webpki say, in words: their own are for who reads their source.

use rustls::{AlertDescription, CertificateError, Error, OtherError, PeerIncompatible};

use super::{TransportError, key, verify::Unusable};

/// Why a handshake failed.
pub(super) fn told(error: &Error) -> TransportError {
    match error {
        Error::InvalidCertificate(reason) => certificate(reason),
        other => TransportError::Tls(handshake(other)),
    }
}

fn handshake(error: &Error) -> String {
    match error {
        Error::AlertReceived(alert) => alerted(*alert),
        Error::PeerIncompatible(reason) => incompatible(reason).to_owned(),
        Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerSentOversizedRecord => "what answers there does not speak TLS".to_owned(),
        Error::PeerMisbehaved(_) => "what answers there does not keep to the rules of TLS".to_owned(),
        Error::DecryptError | Error::EncryptError => "what arrives cannot be decrypted: something on the way changes it".to_owned(),
        Error::NoCertificatesPresented => "the server shows no certificate".to_owned(),
        Error::NoApplicationProtocol => "the server does not speak HTTP/1.1".to_owned(),
        _ => "it broke off".to_owned(),
    }
}

/// What the server says in an alert: <https://www.rfc-editor.org/rfc/rfc8446#section-6.2>.
fn alerted(alert: AlertDescription) -> String {
    let refused = |why: &str| format!("the server does not take our client certificate: {why}");
    match alert {
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            "the server says that it has no cipher, or no kind of key, in common with jobpass".to_owned()
        }
        AlertDescription::ProtocolVersion => "the server speaks neither TLS 1.2 nor TLS 1.3".to_owned(),
        AlertDescription::UnrecognisedName => "the server does not know the name by which it is called".to_owned(),
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
            "the server demands a client certificate, and the CI identity has none".to_owned()
        }
        AlertDescription::BadCertificate => refused("it is not valid there"),
        AlertDescription::UnsupportedCertificate => refused("it is of a kind that it does not know"),
        AlertDescription::CertificateRevoked => refused("it was revoked"),
        AlertDescription::CertificateExpired => refused("it has expired"),
        AlertDescription::CertificateUnknown => refused("it does not say why"),
        AlertDescription::UnknownCA => refused("it is signed by an authority that it does not know"),
        AlertDescription::AccessDenied => refused("its owner may not come in"),
        AlertDescription::DecryptError => refused("its signature is not that of its key"),
        AlertDescription::InternalError => "the server has an error of its own".to_owned(),
        other => format!("the server ended it with the alert {}", u8::from(other)),
    }
}

fn incompatible(reason: &PeerIncompatible) -> &'static str {
    match reason {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled => "the server speaks neither TLS 1.2 nor TLS 1.3",
        PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon => "the server takes no client certificate with a key of this kind",
        _ => "the server has no cipher, or no kind of key, in common with jobpass",
    }
}

fn certificate(reason: &CertificateError) -> TransportError {
    use CertificateError as E;
    let untrusted = |why: &str| TransportError::Certificate(why.to_owned());
    match reason {
        E::UnknownIssuer | E::BadSignature => untrusted("it is signed by an unknown authority"),
        E::NotValidForName | E::NotValidForNameContext { .. } => untrusted("it is for another name"),
        E::Expired | E::ExpiredContext { .. } => untrusted("it has expired, by this machine's clock"),
        E::NotValidYet | E::NotValidYetContext { .. } => untrusted("it is not valid yet, by this machine's clock"),
        E::Revoked => untrusted("it was revoked"),
        E::BadEncoding => untrusted("it cannot be read"),
        E::UnhandledCriticalExtension => untrusted("it has a critical extension that jobpass does not know"),
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => untrusted("it is not a server's: its purposes are others"),
        E::UnsupportedSignatureAlgorithmContext { signature_algorithm_id, .. } => {
            TransportError::Unchecked(format!("it is signed by {}, which jobpass cannot check", key::signature(signature_algorithm_id)))
        }
        E::UnsupportedSignatureAlgorithmForPublicKeyContext { signature_algorithm_id, public_key_algorithm_id } => {
            let (way, kind) = (key::signature(signature_algorithm_id), key::kind(public_key_algorithm_id));
            TransportError::Unchecked(format!("it is signed by {way} with a key of {kind}, which jobpass cannot check"))
        }
        E::Other(OtherError(other)) => match (other.downcast_ref::<Unusable>(), other.downcast_ref::<webpki::Error>()) {
            (Some(Unusable(why)), _) => TransportError::Unchecked(why.clone()),
            (None, Some(reason)) => untrusted(of_webpki(reason)),
            (None, None) => untrusted("it is not valid"),
        },
        _ => untrusted("it is not valid"),
    }
}

fn of_webpki(reason: &webpki::Error) -> &'static str {
    use webpki::Error as E;
    match reason {
        E::UnsupportedCertVersion => "it is of version 1, which holds no names to be checked",
        E::CaUsedAsEndEntity => "it is an authority's own certificate, and not the one that was given",
        E::EndEntityUsedAsCa => "what has signed it is the certificate of no authority",
        E::CertDistrusted => "its authority is no longer trusted",
        E::NameConstraintViolation => "its authority may not sign for its names",
        E::PathLenConstraintViolated | E::MaximumPathDepthExceeded => "there are more authorities between it and the given one than may be",
        E::MaximumPathBuildCallsExceeded | E::MaximumSignatureChecksExceeded | E::MaximumNameConstraintComparisonsExceeded => {
            "it comes with more certificates than are looked at"
        }
        E::SignatureAlgorithmMismatch => "it says in two ways how it is signed",
        E::EmptyEkuExtension
        | E::ExtensionValueInvalid
        | E::MalformedExtensions
        | E::MalformedDnsIdentifier
        | E::MalformedNameConstraint
        | E::InvalidNetworkMaskConstraint
        | E::InvalidSerialNumber
        | E::UnsupportedNameType => "a part of it cannot be read",
        _ => "it is not valid",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{InvalidMessage, PeerMisbehaved};

    use super::*;

    /// Signs of `{:?}`, or of a list of bytes.
    fn assert_words(error: &Error) {
        let (TransportError::Certificate(text) | TransportError::Unchecked(text) | TransportError::Tls(text)) = told(error) else {
            panic!("{error:?}")
        };
        let is_debug = |word: &str| word.chars().skip(1).any(|c| c.is_ascii_uppercase()) && word.chars().any(|c| c.is_ascii_lowercase());
        let words = text.split([' ', ',', ';', ':', '/']).filter(|word| !["jobpass", "RSA-PSS"].contains(word));
        let strange: Vec<_> = words.filter(|word| is_debug(word)).collect();
        assert!(strange.is_empty() && !text.contains(['(', '[', '{', '_']), "{error:?}: {text}");
    }

    #[test]
    fn nothing_is_said_as_the_library_says_it() {
        let other = |error: webpki::Error| CertificateError::Other(OtherError(Arc::new(error)));
        for reason in [
            CertificateError::BadEncoding,
            CertificateError::UnhandledCriticalExtension,
            CertificateError::UnknownRevocationStatus,
            CertificateError::InvalidPurpose,
            CertificateError::InvalidOcspResponse,
            CertificateError::ApplicationVerificationFailure,
            CertificateError::UnsupportedSignatureAlgorithmContext { signature_algorithm_id: vec![6, 1, 1], supported_algorithms: vec![] },
            CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
                signature_algorithm_id: vec![6, 1, 1],
                public_key_algorithm_id: vec![6, 1, 1],
            },
            other(webpki::Error::CaUsedAsEndEntity),
            other(webpki::Error::UnsupportedCertVersion),
            other(webpki::Error::ExtensionValueInvalid),
            other(webpki::Error::MaximumPathDepthExceeded),
            other(webpki::Error::BadDer),
            CertificateError::Other(OtherError(Arc::new(std::fmt::Error))),
        ] {
            assert_words(&reason.into());
        }
        for alert in 0..=255 {
            assert_words(&Error::AlertReceived(alert.into()));
        }
        for error in [
            Error::InvalidMessage(InvalidMessage::InvalidContentType),
            Error::PeerMisbehaved(PeerMisbehaved::TooMuchEarlyDataReceived),
            Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
            Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13),
            Error::DecryptError,
            Error::General("SomeThing(1)".to_owned()),
        ] {
            assert_words(&error);
        }
    }
}
