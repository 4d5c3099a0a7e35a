//! Reads a manifest and says where its Wasm is. Pure: bytes in, a decision out.
//!
//! Four layouts are accepted, because all four are in use:
//!
//! | [`Layout`] | config | layers |
//! |---|---|---|
//! | `Cncf` | `application/vnd.wasm.config.v0+json` | one `application/wasm` |
//! | `Spin` | any | one `application/vnd.wasm.content.layer.v1+wasm` |
//! | `Legacy` | any | one `application/vnd.module.wasm.content.layer.v1+wasm` |
//! | `Container` | any | tar or tar+gzip layers with one `.wasm` file in all of them |
//!
//! Sources: the CNCF TAG Runtime "Wasm OCI Artifact Layout", Spin's `spin-oci`, Solo's
//! `wasm-to-oci`, and the OCI image specification 1.1 (manifest and index).
//!
//! *Invariant:* unknown fields are ignored, as the specification demands; everything that is
//! used is checked here, so that no later code meets a negative size or a bad digest.

use serde::{Deserialize, Serialize};

use crate::digest::{self, Digest, quote};

/// The largest manifest that is read, in bytes: what the OCI distribution specification asks
/// registries to accept, and what they do accept at most.
pub const MANIFEST_MAX_BYTES: u64 = 4 << 20;

/// The most that one image may weigh as it is stored in a registry, in bytes. Large
/// components (a JavaScript or Python interpreter inside) are below 40 MiB.
pub const COMPRESSED_MAX_BYTES: u64 = 64 << 20;

/// The most that the layers of a container image may unpack to, in bytes.
pub const DECOMPRESSED_MAX_BYTES: u64 = 256 << 20;

/// How many times larger than its layer the unpacked content may be. Wasm compresses 3 to 10
/// times; a bomb reaches 1000.
pub const DECOMPRESSION_RATIO_MAX: u64 = 100;

/// How many indexes may lie between a reference and its manifest. An index in an index is
/// legal, unused for images, and a way to make a client run in circles.
pub const INDEX_DEPTH_MAX: usize = 1;

/// The most layers or index entries that are considered; Docker stops at 127 layers.
pub const DESCRIPTORS_MAX: usize = 128;

/// The media types of manifests that a client asks for.
pub const MANIFEST_MEDIA_TYPES: [&str; 4] = [
    oci_client::manifest::OCI_IMAGE_MEDIA_TYPE,
    oci_client::manifest::OCI_IMAGE_INDEX_MEDIA_TYPE,
    oci_client::manifest::IMAGE_MANIFEST_MEDIA_TYPE,
    oci_client::manifest::IMAGE_MANIFEST_LIST_MEDIA_TYPE,
];

const LEGACY_LAYER_MEDIA_TYPE: &str = "application/vnd.module.wasm.content.layer.v1+wasm";
const DOCKER_LAYER_TAR_MEDIA_TYPE: &str = "application/vnd.docker.image.rootfs.diff.tar";
const TAR_MEDIA_TYPES: [&str; 2] =
    [oci_client::manifest::IMAGE_LAYER_MEDIA_TYPE, DOCKER_LAYER_TAR_MEDIA_TYPE];
const TAR_GZIP_MEDIA_TYPES: [&str; 2] = [
    oci_client::manifest::IMAGE_LAYER_GZIP_MEDIA_TYPE,
    oci_client::manifest::IMAGE_DOCKER_LAYER_GZIP_MEDIA_TYPE,
];

/// How an image carries its Wasm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// The CNCF Wasm OCI artifact: what [`crate::Client::push`] writes.
    Cncf,
    /// A Spin application with one component.
    Spin,
    /// What `wasm-to-oci` and early tools wrote.
    Legacy,
    /// A container image, as `FROM scratch` + `COPY app.wasm /` builds it.
    Container,
}

/// What a manifest turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manifest {
    /// The Wasm is the content of this blob.
    Wasm {
        /// Which of the three layouts without a container it is.
        layout: Layout,
        /// The blob.
        blob: Blob,
    },
    /// The Wasm is a file in these layers.
    Layers(Vec<Layer>),
    /// An index: the Wasm is behind this manifest.
    Index {
        /// The manifest for Wasm.
        manifest: Blob,
    },
}

/// A blob as a manifest promises it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blob {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size_bytes: u64,
}

/// A layer of a container image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layer {
    /// The archive.
    pub blob: Blob,
    /// Whether the archive is compressed.
    pub gzip: bool,
}

/// Why a manifest was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is not JSON, or not the JSON of a manifest.
    #[error("the manifest is malformed")]
    Json {
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// It is JSON, but says of itself that it is something else.
    #[error("not a manifest of an image: {reason}")]
    NotManifest {
        /// What is wrong.
        reason: String,
    },
    /// A digest in the manifest cannot be used.
    #[error("the manifest has a bad digest for its {part}")]
    Digest {
        /// Which descriptor.
        part: &'static str,
        /// What is wrong with it.
        #[source]
        source: digest::Error,
    },
    /// The manifest, or what it promises, is beyond a limit.
    #[error("the {part} has {size} {unit}, more than the allowed {max}")]
    TooLarge {
        /// What is too large.
        part: &'static str,
        /// Its size.
        size: u64,
        /// `bytes`, or what is counted.
        unit: &'static str,
        /// The limit.
        max: u64,
    },
    /// The image is sound, but no Wasm can be in it, or too much is.
    #[error("the image does not hold exactly one Wasm file: {reason}")]
    NotWasm {
        /// What it holds instead.
        reason: String,
    },
}

/// Decides which layout the manifest has.
pub fn layout_of(manifest: &[u8]) -> Result<Manifest, Error> {
    at_most("manifest", manifest.len() as u64, "bytes", MANIFEST_MAX_BYTES)?;
    let raw: RawManifest =
        serde_json::from_slice(manifest).map_err(|source| Error::Json { source })?;
    if raw.schema_version != Some(2) {
        let reason = match raw.schema_version {
            None => "it has no `schemaVersion`".to_owned(),
            Some(version) => format!("its `schemaVersion` is {version}, not 2"),
        };
        return Err(Error::NotManifest { reason });
    }
    if let Some(media_type) = &raw.media_type
        && !MANIFEST_MEDIA_TYPES.contains(&media_type.as_str())
    {
        let reason = format!("its media type is `{}`", quote(media_type));
        return Err(Error::NotManifest { reason });
    }
    match (raw.layers, raw.manifests) {
        (Some(layers), None) => layout_of_image(raw.config, &layers),
        (None, Some(manifests)) => layout_of_index(&manifests),
        _ => {
            Err(Error::NotManifest { reason: "it needs either `layers` or `manifests`".to_owned() })
        }
    }
}

/// The serde shapes; only the fields that are used.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawManifest {
    schema_version: Option<u64>,
    media_type: Option<String>,
    config: Option<RawDescriptor>,
    layers: Option<Vec<RawDescriptor>>,
    manifests: Option<Vec<RawDescriptor>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    platform: Option<RawPlatform>,
}

#[derive(Deserialize)]
struct RawPlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
}

impl RawDescriptor {
    fn blob(&self, part: &'static str, max_bytes: u64) -> Result<Blob, Error> {
        let digest = self.digest.parse().map_err(|source| Error::Digest { part, source })?;
        at_most(part, self.size, "bytes", max_bytes)?;
        Ok(Blob { digest, size_bytes: self.size })
    }

    /// `wasm` with `wasi`, `wasip1` or `wasip2`; `wasi/wasm` is how Docker's shim writes it.
    fn is_wasm_platform(&self) -> bool {
        self.platform.as_ref().is_some_and(|p| {
            let wasi = p.os == "js" || p.os.starts_with("wasi");
            p.architecture.starts_with("wasm") && wasi
        })
    }
}

fn layout_of_image(
    config: Option<RawDescriptor>,
    layers: &[RawDescriptor],
) -> Result<Manifest, Error> {
    at_most("image", layers.len() as u64, "layers", DESCRIPTORS_MAX as u64)?;
    let direct: Vec<_> =
        layers.iter().filter_map(|layer| Some((direct_layout(layer)?, layer))).collect();
    match direct.as_slice() {
        [(layout, layer)] => {
            if *layout == Layout::Cncf && layers.len() != 1 {
                let reason = format!("{} layers where this layout has one", layers.len());
                return Err(Error::NotWasm { reason });
            }
            let blob = layer.blob("Wasm layer", COMPRESSED_MAX_BYTES)?;
            Ok(Manifest::Wasm { layout: *layout, blob })
        }
        [] => layout_of_container(config, layers),
        several => {
            let reason = format!("it has {} Wasm layers", several.len());
            Err(Error::NotWasm { reason })
        }
    }
}

fn direct_layout(layer: &RawDescriptor) -> Option<Layout> {
    match layer.media_type.as_str() {
        oci_wasm::WASM_LAYER_MEDIA_TYPE => Some(Layout::Cncf),
        oci_client::manifest::WASM_LAYER_MEDIA_TYPE => Some(Layout::Spin),
        LEGACY_LAYER_MEDIA_TYPE => Some(Layout::Legacy),
        _ => None,
    }
}

fn layout_of_container(
    config: Option<RawDescriptor>,
    layers: &[RawDescriptor],
) -> Result<Manifest, Error> {
    if layers.is_empty() {
        let kind = config.map_or_else(|| "none".to_owned(), |c| quote(&c.media_type));
        let reason = format!("it has no layers (its config is `{kind}`)");
        return Err(Error::NotWasm { reason });
    }
    let layers = layers.iter().map(archive_layer).collect::<Result<Vec<_>, _>>()?;
    let total = layers.iter().fold(0u64, |sum, l| sum.saturating_add(l.blob.size_bytes));
    at_most("image", total, "bytes", COMPRESSED_MAX_BYTES)?;
    Ok(Manifest::Layers(layers))
}

fn archive_layer(layer: &RawDescriptor) -> Result<Layer, Error> {
    let media_type = layer.media_type.as_str();
    let gzip = TAR_GZIP_MEDIA_TYPES.contains(&media_type);
    if !gzip && !TAR_MEDIA_TYPES.contains(&media_type) {
        let reason = format!("a layer has the media type `{}`", quote(media_type));
        return Err(Error::NotWasm { reason });
    }
    Ok(Layer { blob: layer.blob("layer", COMPRESSED_MAX_BYTES)?, gzip })
}

/// The one entry for Wasm, or the only entry.
fn layout_of_index(manifests: &[RawDescriptor]) -> Result<Manifest, Error> {
    at_most("index", manifests.len() as u64, "entries", DESCRIPTORS_MAX as u64)?;
    let wasm: Vec<_> = manifests.iter().filter(|m| m.is_wasm_platform()).collect();
    let chosen = match (wasm.as_slice(), manifests) {
        ([only], _) => *only,
        ([], [only]) => only,
        ([], others) => {
            let reason =
                format!("none of the {} entries of the index is for wasi/wasm", others.len());
            return Err(Error::NotWasm { reason });
        }
        (several, _) => {
            let reason = format!("{} entries of the index are for wasi/wasm", several.len());
            return Err(Error::NotWasm { reason });
        }
    };
    Ok(Manifest::Index { manifest: chosen.blob("manifest", MANIFEST_MAX_BYTES)? })
}

fn at_most(part: &'static str, size: u64, unit: &'static str, max: u64) -> Result<(), Error> {
    if size <= max { Ok(()) } else { Err(Error::TooLarge { part, size, unit, max }) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const CNCF: &str = "application/wasm";
    const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

    fn descriptor(media_type: &str, size: u64) -> Value {
        json!({"mediaType": media_type, "digest": Digest::of(b"x").to_string(), "size": size})
    }

    fn image(layers: &[Value]) -> Vec<u8> {
        let config = descriptor("application/vnd.wasm.config.v0+json", 2);
        json!({"schemaVersion": 2, "config": config, "layers": layers}).to_string().into_bytes()
    }

    fn index(platforms: &[Option<(&str, &str)>]) -> Vec<u8> {
        let manifests: Vec<Value> = platforms
            .iter()
            .enumerate()
            .map(|(n, platform)| {
                let digest = Digest::of(&[n as u8]).to_string();
                let mut entry =
                    json!({"mediaType": MANIFEST_MEDIA_TYPES[0], "digest": digest, "size": 9});
                if let Some((os, architecture)) = platform {
                    entry["platform"] = json!({"os": os, "architecture": architecture});
                }
                entry
            })
            .collect();
        json!({"schemaVersion": 2, "manifests": manifests}).to_string().into_bytes()
    }

    fn layout(manifest: &[u8]) -> Layout {
        match layout_of(manifest).expect("accepted") {
            Manifest::Wasm { layout, .. } => layout,
            Manifest::Layers(_) => Layout::Container,
            Manifest::Index { .. } => panic!("an index"),
        }
    }

    #[test]
    fn the_four_layouts_are_recognised() {
        assert_eq!(layout(&image(&[descriptor(CNCF, 1)])), Layout::Cncf);
        let spin = "application/vnd.wasm.content.layer.v1+wasm";
        let data = descriptor("application/vnd.wasm.content.layer.v1+data", 1);
        assert_eq!(layout(&image(&[descriptor(spin, 1), data])), Layout::Spin);
        assert_eq!(layout(&image(&[descriptor(LEGACY_LAYER_MEDIA_TYPE, 1)])), Layout::Legacy);
        for media_type in TAR_MEDIA_TYPES.iter().chain(&TAR_GZIP_MEDIA_TYPES) {
            assert_eq!(layout(&image(&[descriptor(media_type, 1)])), Layout::Container);
        }
    }

    #[test]
    fn json_that_is_not_a_manifest_is_refused() {
        for text in ["{}", "{\"schemaVersion\":1}", "{\"schemaVersion\":2}", "{\"errors\":[]}"] {
            let error = layout_of(text.as_bytes()).expect_err(text);
            assert!(matches!(error, Error::NotManifest { .. }), "{text}: {error:?}");
        }
        for text in ["", "null", "[]", "3", "\"x\"", "<html>", "{\"schemaVersion\":\"2\"}"] {
            let error = layout_of(text.as_bytes()).expect_err(text);
            assert!(matches!(error, Error::Json { .. } | Error::NotManifest { .. }), "{text}");
        }
        let typed = json!({"schemaVersion": 2, "mediaType": "text/html", "layers": []});
        assert!(matches!(layout_of(typed.to_string().as_bytes()), Err(Error::NotManifest { .. })));
        let both = json!({"schemaVersion": 2, "layers": [], "manifests": []});
        assert!(matches!(layout_of(both.to_string().as_bytes()), Err(Error::NotManifest { .. })));
    }

    #[test]
    fn a_manifest_cut_anywhere_is_refused() {
        let whole = image(&[descriptor(CNCF, 1)]);
        for end in 0..whole.len() {
            assert!(matches!(layout_of(&whole[..end]), Err(Error::Json { .. })), "{end}");
        }
    }

    #[test]
    fn limits_hold_for_the_manifest_and_what_it_promises() {
        let huge = vec![b' '; MANIFEST_MAX_BYTES as usize + 1];
        assert!(matches!(layout_of(&huge), Err(Error::TooLarge { part: "manifest", .. })));
        let heavy = image(&[descriptor(CNCF, COMPRESSED_MAX_BYTES + 1)]);
        assert!(matches!(layout_of(&heavy), Err(Error::TooLarge { .. })));
        let most = descriptor(GZIP, COMPRESSED_MAX_BYTES);
        let together = image(&[most, descriptor(GZIP, 1)]);
        assert!(matches!(layout_of(&together), Err(Error::TooLarge { part: "image", .. })));
        let many = image(&vec![descriptor(GZIP, 1); DESCRIPTORS_MAX + 1]);
        assert!(matches!(layout_of(&many), Err(Error::TooLarge { unit: "layers", .. })));
    }

    #[test]
    fn a_bad_digest_or_size_is_refused() {
        for digest in ["", "sha256:", "sha256:../../etc/passwd", "md5:00", "sha256:XYZ"] {
            let layer = json!({"mediaType": CNCF, "digest": digest, "size": 1});
            assert!(matches!(layout_of(&image(&[layer])), Err(Error::Digest { .. })), "{digest}");
        }
        for size in [json!(-1), json!(1.5), json!("1"), json!(null), json!(1e30)] {
            let layer = json!({"mediaType": CNCF, "digest": Digest::of(b""), "size": size});
            assert!(matches!(layout_of(&image(&[layer])), Err(Error::Json { .. })), "{size}");
        }
    }

    #[test]
    fn exactly_one_wasm_is_wanted() {
        let wasm = descriptor(CNCF, 1);
        for layers in [
            vec![],
            vec![wasm.clone(), wasm.clone()],
            vec![wasm, descriptor(GZIP, 1)],
            vec![descriptor("application/vnd.oci.image.layer.v1.tar+zstd", 1)],
            vec![descriptor("application/octet-stream", 1)],
        ] {
            assert!(matches!(layout_of(&image(&layers)), Err(Error::NotWasm { .. })));
        }
    }

    #[test]
    fn an_index_gives_the_wasm_entry_or_the_only_one() {
        let chosen = |platforms: &[_]| match layout_of(&index(platforms)) {
            Ok(Manifest::Index { manifest }) => Some(manifest.digest),
            Err(Error::NotWasm { .. }) => None,
            other => panic!("{other:?}"),
        };
        let (amd64, wasi) = (Some(("linux", "amd64")), Some(("wasi", "wasm")));
        assert_eq!(chosen(&[amd64, wasi]), Some(Digest::of(&[1])));
        assert_eq!(chosen(&[Some(("wasip2", "wasm")), amd64]), Some(Digest::of(&[0])));
        assert_eq!(chosen(&[None]), Some(Digest::of(&[0])));
        assert_eq!(chosen(&[amd64]), Some(Digest::of(&[0])));
        assert_eq!(chosen(&[amd64, amd64]), None);
        assert_eq!(chosen(&[wasi, wasi]), None);
        assert_eq!(chosen(&[]), None);
    }
}
