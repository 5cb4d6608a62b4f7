//! Compiles the protos without protoc: protox → descriptor set → prost, tonic and canonical JSON.

use std::{env, fs, path::PathBuf};

use prost::Message;

type Failure = Box<dyn std::error::Error>;

const FILES: [&str; 4] =
    ["waybill/model/v1/resource.proto", "waybill/usage/v1/usage.proto", "waybill/sync/v1/sync.proto", "waybill/admin/v1/admin.proto"];

fn main() -> Result<(), Failure> {
    for file in FILES {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors =
        protox::Compiler::new(["."])?.include_imports(true).include_source_info(true).open_files(FILES)?.file_descriptor_set();
    let bytes = descriptors.encode_to_vec();
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), &bytes)?;
    tonic_prost_build::configure()
        .bytes(".")
        .btree_map(".")
        .extern_path(".google.protobuf", "::pbjson_types")
        .compile_well_known_types(true)
        .build_transport(false)
        .compile_fds(descriptors)?;
    pbjson_build::Builder::new().btree_map([".waybill"]).register_descriptors(&bytes)?.build(&[".waybill"])?;
    Ok(())
}
