// Sum of the elements of a unit of T.
//#if T == vec4f
fn total(v: vec4f) -> f32 { return (v.x + v.y) + (v.z + v.w); }
//#else
fn total(v: f32) -> f32 { return v; }
//#endif
