//! Authorities and certificates for the TLS tests.

use std::path::PathBuf;

use base64::Engine as _;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ED25519};

/// Two PEM texts.
pub(super) struct Certificate {
    pub(super) chain: String,
    pub(super) key: String,
}

/// An authority that signs servers and clients.
pub(super) struct Authority {
    pub(super) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = authority_params(name, Vec::new());
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    pub(super) fn server(&self, name: &str) -> Certificate {
        self.sign(&CertificateParams::new([name.to_owned()]).unwrap())
    }

    pub(super) fn client(&self, common_name: &str) -> Certificate {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, common_name);
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Certificate { chain: certificate.pem(), key: key.serialize_pem() }
    }

    /// A bundle with this authority behind others, as RDS ships them.
    pub(super) fn bundle(&self, file: &Files) -> String {
        let others: String = (0..5).map(|i| Self::new(&format!("Other {i}")).pem).collect();
        file.write("bundle.pem", &format!("# a comment\n{others}{}", self.pem))
    }
}

impl Certificate {
    /// For `localhost`, its own authority, with an Ed25519 key: no digest for channel binding exists.
    pub(super) fn self_signed() -> Self {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let params = authority_params("Self", vec!["localhost".to_owned()]);
        // The key comes as PKCS #8 version 2, with its public half, which OpenSSL 3.0 does not read: put the
        // 32 bytes of the private half into version 1's frame.
        const FRAME: [u8; 16] =
            [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
        let version_1 = [&FRAME, &key.serialized_der()[16..48]].concat();
        let text = base64::engine::general_purpose::STANDARD.encode(version_1);
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n");
        Self { chain: params.self_signed(&key).unwrap().pem(), key: pem }
    }
}

fn authority_params(name: &str, names: Vec<String>) -> CertificateParams {
    let mut params = CertificateParams::new(names).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// Files of one test.
pub(super) struct Files(tempfile::TempDir);

impl Files {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn write(&self, name: &str, text: &str) -> String {
        let path: PathBuf = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}
