//! x
fn main() {
    cobuf_host::init();
}
