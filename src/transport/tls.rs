//! TLS 1.3 with raw public keys (RFC 7250): each end proves the Ed25519 key of its validator, and
//! nothing else is said about it. No certificates, no resumption, no early data.

use std::collections::BTreeSet;
use std::sync::{Arc, RwLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::ring::{cipher_suite, default_provider, kx_group, sign};
use rustls::crypto::{verify_tls13_signature_with_raw_key, CryptoProvider};
use rustls::pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, Connection, DigitallySignedStruct,
    DistinguishedName, Error, ServerConfig, ServerConnection, SignatureScheme,
};

use crate::types::{KeyPair, ValidatorAddress};

/// Name and version of what is spoken inside TLS; both ends must agree on it.
pub const PROTOCOL: &[u8] = b"hotstuff/1";

/// The SubjectPublicKeyInfo of an Ed25519 key (RFC 8410, section 4) before the key itself.
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];

/// The keys that may connect.
pub struct Known {
    keys: RwLock<BTreeSet<ValidatorAddress>>,
    listeners_allowed: bool,
}

impl Known {
    pub fn new(keys: impl Iterator<Item = ValidatorAddress>, listeners_allowed: bool) -> Known {
        Known {
            keys: RwLock::new(keys.collect()),
            listeners_allowed,
        }
    }

    pub fn insert(&self, key: ValidatorAddress) {
        self.keys
            .write()
            .expect("no panic under this lock")
            .insert(key);
    }

    pub fn remove(&self, key: &ValidatorAddress) {
        self.keys
            .write()
            .expect("no panic under this lock")
            .remove(key);
    }

    pub fn contains(&self, key: &ValidatorAddress) -> bool {
        self.keys
            .read()
            .expect("no panic under this lock")
            .contains(key)
    }
}

/// Makes TLS connections that prove one key.
pub struct Tls {
    provider: Arc<CryptoProvider>,
    key: Arc<CertifiedKey>,
    server: Arc<ServerConfig>,
}

impl Tls {
    /// # Errors
    /// rustls does not take the key.
    pub fn new(key: &KeyPair, known: Arc<Known>) -> Result<Tls, Error> {
        // Everybody has the same two suites and one group: the fastest first.
        let provider = Arc::new(CryptoProvider {
            cipher_suites: vec![
                cipher_suite::TLS13_AES_128_GCM_SHA256,
                cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
            ],
            kx_groups: vec![kx_group::X25519],
            ..default_provider()
        });
        let spki = [SPKI_PREFIX.as_slice(), key.address().as_bytes()].concat();
        let mut pkcs8 = key.to_pkcs8();
        let signing = sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8.as_slice()));
        pkcs8.fill(0);
        std::hint::black_box(&pkcs8); // keeps the write
        let key = Arc::new(CertifiedKey::new(
            vec![CertificateDer::from(spki)],
            signing?,
        ));

        let verifier = VerifyClient {
            known,
            provider: Arc::clone(&provider),
        };
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(
                Arc::clone(&key),
            )));
        server.alpn_protocols = vec![PROTOCOL.to_vec()];
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        Ok(Tls {
            provider,
            key,
            server: Arc::new(server),
        })
    }

    /// The end that was dialed. Lets in known keys, and any key if listeners are allowed.
    pub fn accept(&self) -> Result<Connection, Error> {
        Ok(Connection::Server(ServerConnection::new(Arc::clone(
            &self.server,
        ))?))
    }

    /// The end that dials. Talks to `expected` and nobody else.
    pub fn dial(&self, expected: ValidatorAddress) -> Result<Connection, Error> {
        let verifier = VerifyServer {
            expected,
            provider: Arc::clone(&self.provider),
        };
        let resolver = AlwaysResolvesClientRawPublicKeys::new(Arc::clone(&self.key));
        let mut client = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])?
            .dangerous() // the verifier is ours: it compares the key itself
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(resolver));
        client.alpn_protocols = vec![PROTOCOL.to_vec()];
        client.enable_sni = false;
        client.resumption = Resumption::disabled();
        // A name is demanded, and neither sent nor compared.
        let name = ServerName::try_from("validator.invalid").expect("a valid name");
        Ok(Connection::Client(ClientConnection::new(
            Arc::new(client),
            name,
        )?))
    }
}

/// The key that the other end has proved. `None` before the handshake is complete, and when the
/// other end does not speak our protocol.
pub fn proved_key(connection: &Connection) -> Option<ValidatorAddress> {
    let spoken = connection.alpn_protocol() == Some(PROTOCOL);
    let certificate = connection.peer_certificates()?.first()?;
    (spoken && !connection.is_handshaking()).then(|| key_of_spki(certificate))?
}

fn key_of_spki(spki: &[u8]) -> Option<ValidatorAddress> {
    let key = spki.strip_prefix(&SPKI_PREFIX)?;
    key.try_into().ok().map(ValidatorAddress)
}

/// The key that is presented, and nothing besides.
fn presented_key(
    spki: &CertificateDer<'_>,
    others: &[CertificateDer<'_>],
) -> Result<ValidatorAddress, Error> {
    match key_of_spki(spki) {
        Some(key) if others.is_empty() => Ok(key),
        _ => Err(CertificateError::BadEncoding.into()),
    }
}

fn refused() -> Error {
    CertificateError::ApplicationVerificationFailure.into()
}

fn verify_signature(
    provider: &CryptoProvider,
    message: &[u8],
    spki: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    if signature.scheme != SignatureScheme::ED25519 {
        return Err(CertificateError::BadSignature.into());
    }
    let spki = SubjectPublicKeyInfoDer::from(spki.as_ref());
    let algorithms = &provider.signature_verification_algorithms;
    verify_tls13_signature_with_raw_key(message, &spki, signature, algorithms)
}

#[derive(Debug)]
struct VerifyServer {
    expected: ValidatorAddress,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for VerifyServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let key = presented_key(end_entity, intermediates)?;
        if key == self.expected {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(refused())
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 only".to_owned())) // rustls does not call it
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(&self.provider, message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

struct VerifyClient {
    known: Arc<Known>,
    provider: Arc<CryptoProvider>,
}

impl std::fmt::Debug for VerifyClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VerifyClient")
    }
}

impl ClientCertVerifier for VerifyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let key = presented_key(end_entity, intermediates)?;
        match self.known.listeners_allowed || self.known.contains(&key) {
            true => Ok(ClientCertVerified::assertion()),
            false => Err(refused()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 only".to_owned())) // rustls does not call it
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(&self.provider, message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
