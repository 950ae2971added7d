//! The functions of `filetests/ssa` before and after the passes, as the libFuzzer target compares functions that it makes of them.

use std::path::Path;

use upshift_fuzz::ssa::{Checked, check};
use upshift_optimizer::text;

#[test]
fn functions_do_the_same_after_the_passes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../filetests/ssa");
    let (mut functions, mut runs) = (0, 0);
    for entry in std::fs::read_dir(folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|e| e != "ssa") {
            continue;
        }
        let source = std::fs::read_to_string(&path).expect("a text");
        let Ok(function) = text::parse(&source) else { continue };
        match check(&function, 1) {
            Checked::Refused => {}
            Checked::Agree(compared) => {
                functions += 1;
                runs += compared;
            }
            Checked::Differ(how) => panic!("{}: {how}", path.display()),
        }
    }
    println!("{functions} functions, {runs} runs");
    assert!(functions >= 30 && runs >= 80, "{functions} functions, {runs} runs");
}
