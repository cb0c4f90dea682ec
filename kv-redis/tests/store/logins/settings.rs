//! User and password in the URL and in the builder.

use super::*;

#[test]
fn settings_of_the_url_and_of_the_builder_are_checked_together() {
    if !crate::support::can_test("ACL", (6, 0, 0)) {
        return;
    }
    let redis = Redis::start(&["--requirepass", "default-hush"]);
    redis.command(&["ACL", "SETUSER", "app", "on", ">app-hush", "~*", "+@all"]);
    let (at, socket) = (redis.address(), redis.socket().display().to_string());
    works(on(format!("redis://app@{at}")).password("app-hush"));
    works(on(format!("redis://:app-hush@{at}")).username("app"));
    works(on(format!("redis://app:no-hush@{at}")).password("app-hush"));
    works(on(format!("redis://no-hush:no-hush@{at}")).username("app").password("app-hush"));
    works(on(format!("redis://:@{at}")).password("default-hush"));
    works(on(format!("redis+unix://{socket}?user=app")).password("app-hush"));
    works(on(format!("unix://{socket}?pass=app-hush")).username("app").database(3));
    works(on(format!("redis://:default-hush@{at}/999999")).database(3));
    says(&on(format!("redis://app@{at}")), "the URL cannot be used: it has a user without a password");
    says(&on(format!("redis://app:@{at}")), "the URL cannot be used: it has a user without a password");
    says(&on(format!("redis+unix://{socket}?user=app")), "the URL cannot be used: it has a user without a password");
    says(&on(format!("redis://{at}")).username("app"), "`username` is a user without a password");
    says(&on(format!("redis://{at}")).username("").password("hush"), "`username` is empty");
    says(&on(format!("redis://:hush@{at}")).password(""), "`password` is empty");
    says(&on(format!("redis://:app-hush@{at}")).username("app").password(""), "WRONGPASS");
    says(&on(format!("redis://:default-hush@{at}/999999")), "no database of this number");
}

#[test]
fn invalid_settings_of_several_servers_are_refused() {
    let cluster = |urls: [&str; 2]| RedisStore::builder().cluster(urls);
    cluster(["redis://app@h1", "redis://h2"]).username("app").password("hush").build().unwrap();
    cluster(["redis://app@h1", "redis://app@h2"]).password("hush").build().unwrap();
    says(&cluster(["redis://:hush@h1", "redis://h2/x"]), "the URL cannot be used (number 2 of 2): ");
    says(
        &cluster(["redis://app@h1", "redis://app@h2"]),
        "the URL cannot be used (number 1 of 2): it has a user without a password",
    );
    says(&cluster(["redis://app@h1", "redis://h2"]).password("hush"), "differ in TLS (`rediss://`), user or password");
    says(&cluster(["redis://h1/1", "redis://h2"]), "a cluster has only the database 0");
    let sentinels = |service: &str, url: &str| RedisStore::builder().sentinels(service, [url, "redis://h2:26379"]);
    sentinels("mymaster", "redis://h:26379/0").database(2).password("hush").build().unwrap();
    says(&sentinels("mymaster", "redis://h:26379/2"), "`database` of the builder");
    says(&sentinels("mymaster", "redis://h:26379/2").database(2), "a sentinel (number 1 of 2) names a database");
    says(&sentinels("mymaster", "redis://app@h:26379").password("hush"), "those of the primary");
    says(&sentinels("mymaster", "redis://h:26379").username("app"), "those of the primary");
    says(&sentinels("redis://:hush@h", "redis://h"), "name of the primary");
    says(&sentinels("mymaster,password=hush", "redis://h"), "name of the primary");
    says(&sentinels("", "redis://h"), "name of the primary");
}
