//! Every invariant that the verifiers of packed IR, HE IR and programs list, broken once: the
//! finding says so and names the node.

use chiffre_ir::consts::{ConstId, TableId};
use chiffre_ir::error::VerifyError;
use chiffre_ir::graph::{Dialect, Graph, ValueId};
use chiffre_ir::he::{He, HeOp};
use chiffre_ir::packed::{Packed, PackedOp};
use chiffre_ir::program::{Prog, ProgramOp};
use chiffre_ir::text::parse;
use chiffre_ir::{he, packed, program};

const CONSTS: &str = "const @t : table<taps=1 rows=1 outputs=1 entries=1 masks=1x2 weights=f32> = \
    {taps=[1], rows=[[0, 0, 0]], entries=[[0, 0, 0, 2]], masks=[\"10\"]}
    const @u : table<taps=1 rows=1 outputs=1 entries=1 weights=f64> = {taps=[0], rows=[[0, 0, 0]], entries=[[0, 0, _, 2]]}
    const @b : f32[1x1] = [1]";
const L: &str = "slots[b0 x0] cts[] shape=1x1x2 batch=2";

fn packed_text() -> String {
    format!(
        "packed @p {{ {CONSTS}
        %0 = input : {L} ; \"x\"
        %1 = linear %0 {{taps=[1], table=@t, bias=@b}} : {L} ; \"conv\"
        %2 = square %1 : {L} ; \"act\"
        %3 = mul %1, %2 : {L} ; \"gate\"
        return %3 }}"
    )
}

fn he_text() -> String {
    format!(
        "he @h {{ {CONSTS}
        %0 = input : ct<limbs=3 scale=2^40 parts=2> {L} ; \"x\"
        %1 = linear %0 {{taps=[1], table=@t, bias=@b, scales=[2^-10*q2]}} : ct<limbs=3 scale=2^30*q2 parts=2> {L} ; \"conv\"
        %2 = rescale %1 : ct<limbs=2 scale=2^30 parts=2> {L} ; \"resc\"
        %3 = square %2 : ct<limbs=2 scale=2^60 parts=3> {L} ; \"act\"
        %4 = relin %3 : ct<limbs=2 scale=2^60 parts=2> {L} ; \"rel\"
        %5 = mod_drop %4 : ct<limbs=1 scale=2^60 parts=2> {L} ; \"drop\"
        %6 = mul %2, %4 : ct<limbs=2 scale=2^90 parts=3> {L} ; \"gate\"
        %7 = relin %6 : ct<limbs=2 scale=2^90 parts=2> {L} ; \"rel2\"
        return %5, %7 }}"
    )
}

fn program_text() -> String {
    format!(
        "program @p (log_n=3, q=[17, 97, 113], p=[193, 241], batch=2, tile=1, model=\"\", predicted_bytes=0, predicted_us=0) {{ {CONSTS}
        %0 = input : ct<limbs=3 scale=2^40 parts=2> {L} ; \"x\"
        %1 = linear %0 {{taps=[1], table=@t, bias=@b, scales=[2^-10*q2], drop=1, gadget=[3, 2]}} : ct<limbs=2 scale=2^30 parts=2> {L} ; \"conv\"
        %2 = square %1 {{gadget=[3, 2]}} : ct<limbs=2 scale=2^60 parts=2> {L} ; \"act\"
        %3 = mul %1, %2 {{gadget=[2, 1]}} : ct<limbs=2 scale=2^90 parts=2> {L} ; \"gate\"
        %4 = linear %2, %3 {{taps=[0], table=@u, scales=[2^30, 2^0], drop=0}} : ct<limbs=2 scale=2^90 parts=2> {L} ; \"fc\"
        return %4 }}"
    )
}

/// (text to replace, replacement, start of the finding's place, message).
type Case<'a> = (&'a str, &'a str, &'a str, &'a str);

fn expect<T: std::fmt::Debug>(result: Result<T, VerifyError>, case: &str, place: &str, message: &str) {
    let e = result.expect_err(case);
    let found = e.findings.iter().any(|f| f.to_string().starts_with(place) && f.message.contains(message));
    assert!(found, "{case}: expected `{message}` at `{place}`, found\n{e}");
}

fn table<D: Dialect, T: std::fmt::Debug>(text: &str, verify: impl Fn(Graph<D>) -> Result<T, VerifyError>, cases: &[Case]) {
    let read = |t: &str| parse::<D>(t).unwrap_or_else(|e| panic!("{}", e.with_caret(t)));
    verify(read(text)).unwrap_or_else(|e| panic!("the graph to break is not valid:\n{e}"));
    for (from, to, place, message) in cases {
        assert!(text.contains(from), "`{from}` is not in the text");
        let broken = text.replacen(from, to, 1);
        expect(verify(read(&broken)), &format!("{from} → {to}"), place, message);
    }
}

/// Where, what, and how to break it.
type Edit<'a, D> = (&'a str, &'a str, &'a dyn Fn(&mut Graph<D>));

/// What the parser would refuse already.
fn structure<D: Dialect, T: std::fmt::Debug>(
    text: &str,
    verify: impl Fn(Graph<D>) -> Result<T, VerifyError>,
    point_nowhere: fn(&mut D::Op),
) {
    let cases: [Edit<D>; 6] = [
        ("%1 (node \"conv\")", "uses %2 before it is defined", &|g| g.nodes[1].args[0] = ValueId(2)),
        ("%1 (node \"conv\")", "uses %1 before it is defined", &|g| g.nodes[1].args[0] = ValueId(1)),
        ("%1 (node \"conv\")", "linear takes 1 or more operands, not 0", &|g| g.nodes[1].args.clear()),
        ("%1 (node \"conv\")", "constant 99 does not exist", &|g| point_nowhere(&mut g.nodes[1].op)),
        ("", "output %50 does not exist", &|g| g.outputs.push(ValueId(50))),
        ("", "the graph has no output", &|g| g.outputs.clear()),
    ];
    for (place, message, edit) in cases {
        let mut g = parse::<D>(text).unwrap();
        edit(&mut g);
        expect(verify(g), message, place, message);
    }
}

/// Layouts and tables, which all three levels share.
const SHARED: [Case; 17] = [
    ("batch=2 ; \"conv\"", "batch=1 ; \"conv\"", "%1 (node \"conv\")", "does not lead to result layout"),
    (
        "slots[b0 x0] cts[] shape=1x1x2 batch=2 ; \"conv\"",
        "slots[_ x0] cts[b0] shape=1x1x2 batch=2 ; \"conv\"",
        "%1",
        "does not lead to result layout",
    ),
    (
        "slots[b0 x0] cts[] shape=1x1x2 batch=2 ; \"conv\"",
        "slots[_ b0 x0] cts[] shape=1x1x2 batch=2 ; \"conv\"",
        "%1",
        "does not lead to result layout",
    ),
    ("shape=1x1x2 batch=2 ; \"act\"", "shape=1x1x1 batch=2 ; \"act\"", "%2 (node \"act\")", "operand layout"),
    ("{taps=[1], table", "{taps=[4], table", "%1 (node \"conv\")", "a tap is outside the 4 slots"),
    ("{taps=[1], table", "{taps=[-9223372036854775808], table", "%1", "a tap is outside the 4 slots"),
    ("{taps=[1], table", "{taps=[2], table", "%1", "the taps are not those of the table, [1]"),
    ("{taps=[1], table", "{taps=[1, 2], table", "%1", "the taps are not those of the table, [1]"),
    ("[[0, 0, 0]]", "[[1, 0, 0]]", "%1", "a row names operand 1 of 1"),
    ("[[0, 0, 0]]", "[[0, 1, 0]]", "%1", "a row names a ciphertext that its operand does not have"),
    ("outputs=1 entries=1 masks", "outputs=2 entries=1 masks", "%1", "a table of 2 outputs for 1 ciphertexts"),
    (
        "masks=1x2 weights=f32> = {taps=[1], rows=[[0, 0, 0]], entries=[[0, 0, 0, 2]], masks=[\"10\"]}",
        "masks=1x8 weights=f32> = {taps=[1], rows=[[0, 0, 0]], entries=[[0, 0, 0, 2]], masks=[\"10101010\"]}",
        "%1",
        "masks are longer than the slot vector",
    ),
    ("@b : f32[1x1] = [1]", "@b : f32[2x1] = [1, 1]", "%1", "bias of shape [2, 1] for 1 ciphertexts"),
    ("@b : f32[1x1] = [1]", "@b : f64[1x1] = [1]", "%1", "linear takes an array of f32, and @b is f64[1x1]"),
    ("@b : f32[1x1] = [1]", "@b : i64[1x1] = [1]", "%1", "linear takes an array of f32, and @b is i64[1x1]"),
    ("bias=@b", "bias=@u", "%1", "linear takes an array of f32, and @u is table<taps=1 rows=1 outputs=1 entries=1 weights=f64>"),
    ("table=@t", "table=@b", "%1", "linear takes a table of diagonals, and @b is f32[1x1]"),
];

/// What the type of a table tells is checked without its values too; and values must have the
/// declared type.
#[test]
fn tables_without_values() {
    let hashed = |ty: &str| {
        let at = packed_text().find("const @t").unwrap();
        let end = packed_text().find("const @u").unwrap();
        let mut text = packed_text();
        text.replace_range(at..end, &format!("const @t : {ty} blake3:{}\n", "0".repeat(64)));
        text
    };
    let ty = "table<taps=1 rows=1 outputs=1 entries=1 masks=1x2 weights=f32>";
    assert!(packed::verify(parse(&hashed(ty)).unwrap()).is_ok());
    let cases = [
        ("taps=1", "taps=2", "a table of 2 taps under 1"),
        ("outputs=1", "outputs=7", "a table of 7 outputs for 1 ciphertexts"),
        ("1x2", "1x8", "masks are longer than the slot vector"),
    ];
    for (from, to, message) in cases {
        expect(packed::verify(parse(&hashed(&ty.replace(from, to))).unwrap()), to, "%1 (node \"conv\")", message);
    }
    // A hash that a store knows, under another type than its values have.
    let whole = parse::<Packed>(&packed_text()).unwrap();
    let (b, t) = (whole.consts.get(ConstId(2)), whole.consts.get(ConstId(0)));
    let declared = |from: &str, ty: &str, hash| {
        let mut g = parse::<Packed>(&packed_text().replace(from, &format!("{ty} blake3:{hash}"))).unwrap();
        g.consts.resolve(&whole.consts.store());
        packed::verify(g)
    };
    let table_text = &packed_text()[packed_text().find("table<").unwrap()..packed_text().find("\n    const @u").unwrap()].to_string();
    expect(declared("f32[1x1] = [1]", "f32[1]", b.hash), "array", "", "constant @b is f32[1x1], declared f32[1]");
    expect(declared("f32[1x1] = [1]", "f32[1x1]", t.hash), "array", "", "constant @b is table<");
    expect(
        declared(table_text, &ty.replace("rows=1", "rows=2"), t.hash),
        "table",
        "",
        "rows=1 outputs=1 entries=1 masks=1x2 weights=f32>, declared",
    );
}

#[test]
fn packed_ir() {
    table::<Packed, _>(&packed_text(), packed::verify, &SHARED);
    table::<Packed, _>(
        &packed_text(),
        packed::verify,
        &[("@b : f32[1x1] = [1]", "@b : f32[1x1] = [1e300]", "%1", "the bias is not finite")],
    );
    structure::<Packed, _>(&packed_text(), packed::verify, |op| {
        if let PackedOp::Linear { table, .. } = op {
            *table = TableId(ConstId(99));
        }
    });
    let mut g = parse::<Packed>(&packed_text()).unwrap();
    g.nodes[1].ty.shape[2] = 4;
    expect(packed::verify(g), "shape", "%1", "1 bits of x cannot number 4 values");
}

#[test]
fn he_ir() {
    let act: Case = ("shape=1x1x2 batch=2 ; \"act\"", "shape=1x1x1 batch=2 ; \"act\"", "%3 (node \"act\")", "operand layout");
    let shared: Vec<Case> = SHARED.iter().map(|c| if c.2.contains("act") { act } else { *c }).collect();
    table::<He, _>(&he_text(), he::verify, &shared);
    structure::<He, _>(&he_text(), he::verify, |op| {
        if let HeOp::Linear { table, .. } = op {
            *table = TableId(ConstId(99));
        }
    });
    let cases: [Case; 20] = [
        // A rescale reads it, which counts primes in fewer bits.
        ("limbs=3 scale=2^30*q2", "limbs=9223372036854775808 scale=2^30*q2", "%1", "9223372036854775808 limbs and 2 parts"),
        ("limbs=3 scale=2^40 parts=2", "limbs=0 scale=2^40 parts=2", "%0 (node \"x\")", "0 limbs and 2 parts"),
        ("limbs=3 scale=2^40 parts=2", "limbs=3 scale=2^40 parts=4", "%0 (node \"x\")", "3 limbs and 4 parts"),
        ("mul %2, %4", "mul %2, %3", "%6 (node \"gate\")", "an operand is not relinearised"),
        ("return %5, %7", "return %5, %6", "%6 (node \"gate\")", "an output is not relinearised"),
        ("scales=[2^-10*q2]", "scales=[]", "%1 (node \"conv\")", "0 weight scales for 1 operands"),
        ("scales=[2^-10*q2]", "scales=[2^-11*q2]", "%1", "operand scale × weight scale should be 2^30*q2, not 2^29*q2"),
        ("limbs=3 scale=2^30*q2", "limbs=2 scale=2^30*q2", "%1", "limbs should be 3, not 2"),
        ("scale=2^30*q2 parts=2", "scale=2^30*q2 parts=3", "%1", "parts should be 2, not 3"),
        ("mul %2, %4", "mul %2, %5", "%6 (node \"gate\")", "operands of a product differ in limbs"),
        ("limbs=2 scale=2^60 parts=3", "limbs=1 scale=2^60 parts=3", "%3 (node \"act\")", "limbs should be 2, not 1"),
        ("scale=2^60 parts=3", "scale=2^62 parts=3", "%3", "scale should be 2^60, not 2^62"),
        ("scale=2^60 parts=3", "scale=2^60 parts=2", "%3", "parts should be 3, not 2"),
        (
            "scale=2^60 parts=2> slots[b0 x0] cts[] shape=1x1x2 batch=2 ; \"rel\"",
            "scale=2^59 parts=2> slots[b0 x0] cts[] shape=1x1x2 batch=2 ; \"rel\"",
            "%4 (node \"rel\")",
            "scale should be 2^60, not 2^59",
        ),
        ("relin %3 : ct<limbs=2", "relin %3 : ct<limbs=1", "%4", "limbs should be 2, not 1"),
        ("rescale %1 : ct<limbs=2", "rescale %1 : ct<limbs=3", "%2 (node \"resc\")", "limbs should be 2, not 3"),
        ("limbs=2 scale=2^30 parts", "limbs=2 scale=2^30*q1 parts", "%2", "scale should be 2^30, not 2^30*q1"),
        ("rescale %1", "rescale %0", "%2", "scale should be 2^40*q2^-1, not 2^30"),
        ("mod_drop %4 : ct<limbs=1", "mod_drop %4 : ct<limbs=3", "%5 (node \"drop\")", "3 limbs from 2"),
        ("mod_drop %4 : ct<limbs=1 scale=2^60", "mod_drop %4 : ct<limbs=1 scale=2^61", "%5", "scale should be 2^60, not 2^61"),
    ];
    table::<He, _>(&he_text(), he::verify, &cases);
    // A rescale needs two limbs.
    let text = he_text().replace("return", &format!("%8 = rescale %5 : ct<limbs=1 scale=2^60 parts=2> {L}\n return"));
    expect(he::verify(parse(&text).unwrap()), "rescale", "%8", "no limb left to rescale by");
    // Complex-packed products gain 2^2.
    let complex = he_text().replace("slots[b0 x0]", "slots[x0 _]").replace("cts[]", "cts[] complex=b0");
    expect(he::verify(parse(&complex).unwrap()), "complex", "%3", "scale should be 2^62, not 2^60");
}

#[test]
fn programs() {
    table::<Prog, _>(&program_text(), program::verify, &SHARED);
    structure::<Prog, _>(&program_text(), program::verify, |op| {
        if let ProgramOp::Linear { bias, .. } = op {
            *bias = Some(ConstId(99));
        }
    });
    let primes = "the primes are not distinct odd numbers below 2^51";
    let cases: [Case; 25] = [
        ("log_n=3", "log_n=2", "ring degree 2^2", "ring degree 2^2"),
        ("log_n=3", "log_n=18", "ring", "ring degree 2^18"),
        ("log_n=3", "log_n=4", "%0 (node \"x\")", "2^2 slots in a ring of degree 2^4"),
        ("q=[17, 97, 113]", "q=[17, 97, 97]", "", primes),
        ("q=[17, 97, 113]", "q=[17, 97, 193]", "", primes),
        ("q=[17, 97, 113]", "q=[17, 97, 98]", "", primes),
        ("q=[17, 97, 113]", "q=[17, 97, 2251799813685249]", "", primes),
        ("q=[17, 97, 113]", "q=[17, 97]", "%0 (node \"x\")", "3 limbs (the chain has 2)"),
        ("batch=2, tile", "batch=0, tile", "", "a batch of 0 images in tiles of 1"),
        ("tile=1", "tile=0", "", "a batch of 2 images in tiles of 0"),
        ("batch=2, tile", "batch=3, tile", "", "or layouts for another batch"),
        ("limbs=3 scale=2^40 parts=2", "limbs=0 scale=2^40 parts=2", "%0", "0 limbs"),
        ("limbs=3 scale=2^40 parts=2", "limbs=3 scale=2^40 parts=3", "%0", "3 polynomials"),
        ("scales=[2^30, 2^0]", "scales=[2^30, 2^1]", "%4 (node \"fc\")", "operand scale × weight scale differs between operands"),
        ("scales=[2^30, 2^0]", "scales=[2^30]", "%4", "1 weight scales for 2 operands"),
        ("drop=1", "drop=3", "%1 (node \"conv\")", "drop 3 of 3 limbs"),
        ("drop=1", "drop=0", "%1", "should have 3 limbs and scale 2^30*q2, not 2 and 2^30"),
        (", drop=1, gadget=[3, 2]", ", drop=1", "%1", "rotations without a gadget"),
        ("limbs=2 scale=2^60", "limbs=1 scale=2^60", "%2 (node \"act\")", "should have 2 limbs and scale 2^60, not 1 and 2^60"),
        ("scale=2^60", "scale=2^62", "%2", "should have 2 limbs and scale 2^60, not 2 and 2^62"),
        ("square %1 {gadget=[3, 2]", "square %1 {gadget=[1, 2]", "%2", "gadget [1, 2] for 2 limbs"),
        ("square %1 {gadget=[3, 2]", "square %1 {gadget=[4, 2]", "%2", "a chain of 3 and 2 special primes"),
        ("square %1 {gadget=[3, 2]", "square %1 {gadget=[3, 0]", "%2", "gadget [3, 0]"),
        ("square %1 {gadget=[3, 2]", "square %1 {gadget=[3, 3]", "%2", "gadget [3, 3]"),
        ("drop=1, gadget=[3, 2]", "drop=1, gadget=[2, 2]", "%1", "gadget [2, 2] for 3 limbs"),
    ];
    table::<Prog, _>(&program_text(), program::verify, &cases);
    let giants = program_text()
        .replace("drop=1, gadget=[3, 2]", "drop=1, gadget=[3, 2], giants=[0, -2], giant_gadget=[2, 1]")
        .replace("outputs=1 entries=1 masks", "outputs=2 entries=1 masks");
    let cases: [Case; 8] = [
        ("giants=[0, -2]", "giants=[2, -2]", "%1 (node \"conv\")", "giant steps are none or not distinct"),
        ("giants=[0, -2]", "giants=[]", "%1", "giant steps are none or not distinct"),
        ("giants=[0, -2]", "giants=[0, 5]", "%1", "a giant step is outside the 4 slots"),
        (", giant_gadget=[2, 1]", "", "%1", "giant steps without a gadget"),
        ("giants=[0, -2], ", "", "%1", "gadget [2, 1] for giant steps"),
        ("giant_gadget=[2, 1]", "giant_gadget=[1, 1]", "%1", "gadget [1, 1] for giant steps"),
        ("giant_gadget=[2, 1]", "giant_gadget=[2, 3]", "%1", "gadget [2, 3] for giant steps, a chain of 3 and 2 special primes"),
        ("giant_gadget=[2, 1]", "giant_gadget=[4, 1]", "%1", "gadget [4, 1] for giant steps"),
    ];
    table::<Prog, _>(&giants, program::verify, &cases);
}

/// A program that refreshes, and the start of its bootstrap's record.
fn refresh_text() -> String {
    let layout = "slots[b7..b0] cts[] shape=1x1x1 batch=256";
    let factors =
        |list: &[[u32; 2]]| list.iter().map(|[k, babies]| format!("{{log_radix={k}, babies={babies}}}")).collect::<Vec<_>>().join(", ");
    format!(
        "program @p (log_n=9, q=[3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53], p=[59, 61], batch=256, tile=256, model=\"\",
            bootstrap={{limbs=14, alpha=2, low_alpha=1, slots_to_coeffs=[{}], coeffs_to_slots=[{}], range=14, degree=14, doublings=4, weight=32}},
            predicted_bytes=0, predicted_us=0) {{
        const @c : f32[1x4] = [0, 1, 0, 0.5]
        %0 = input : ct<limbs=3 scale=2^40 parts=2> {layout} ; \"x\"
        %1 = refresh %0 {{coeffs=@c}} : ct<limbs=1 scale=2^30 parts=2> {layout} ; \"relu\"
        return %1 }}",
        factors(&[[4, 8], [4, 8]]),
        factors(&[[2, 4], [2, 4], [2, 4], [2, 4]])
    )
}

#[test]
fn bootstraps() {
    let text = refresh_text();
    let cases: [Case; 15] = [
        ("limbs=14", "limbs=11", "", "11 limbs are too few"),
        (
            "limbs=14",
            "limbs=16",
            "",
            "a bootstrap of 16 limbs and 2 special primes at a degree of 2^9 in a ring of degree 2^9 with 15 and 2 primes",
        ),
        (
            "limbs=14",
            "limbs=13",
            "%1 (node \"relu\")",
            "1 limbs behind a series of depth 2 and a bootstrap of 11 levels are more than its keys have, 13",
        ),
        ("alpha=2", "alpha=3", "", "14 limbs and 3 special primes"),
        ("low_alpha=1", "low_alpha=3", "", "2 and 3 special primes"),
        ("babies=8}]", "babies=6}]", "", "hoisted rotations that is not a power of two"),
        ("babies=8}]", "babies=1099511627776}]", "", "hoisted rotations that is not a power of two up to the degree"),
        ("log_radix=4", "log_radix=3", "", "the factors of SlotsToCoeffs have 7 stages"),
        ("range=14", "range=0", "", "range 0"),
        ("range=14", "range=1099511627776", "", "range 1099511627776"),
        ("degree=14", "degree=15", "", "degree 15"),
        ("doublings=4", "doublings=40", "", "40 doublings"),
        ("weight=32", "weight=0", "", "an ephemeral secret of weight 0"),
        ("limbs=3 scale", "limbs=2 scale", "%1", "2 limbs, a bootstrap starts at 3"),
        ("scale=2^30 parts", "scale=2^30*q15 parts", "%1", "a scale of 2^30*q15 over a chain of 15 primes"),
    ];
    table::<Prog, _>(&text, program::verify, &cases);
    for (from, to, message) in [
        ("weight=32", "weight=32, keys=[]", "header attribute bootstrap has an unknown entry `keys`"),
        ("range=14, ", "", "header attribute bootstrap range is missing"),
        ("weight=32", "weight=32, weight=16", "entry `weight` is given twice"),
        ("{log_radix=4, babies=8}", "[4, 8]", "slots_to_coeffs: must be a record"),
        ("babies=4", "babies=x", "coeffs_to_slots: babies must be an integer"),
    ] {
        let error = parse::<Prog>(&text.replacen(from, to, 1)).unwrap_err();
        assert!(error.message.contains(message), "{from} → {to}: {}", error.message);
    }
    let printed = chiffre_ir::text::print(&parse::<Prog>(&text).unwrap());
    assert!(
        printed.contains("bootstrap={limbs=14, alpha=2, low_alpha=1, slots_to_coeffs=[{log_radix=4, babies=8}, {log_radix=4, babies=8}]"),
        "{printed}"
    );
}
