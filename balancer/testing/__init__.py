"""What plugin authors may use in their own tests: contract mixins and fakes. Never imported by the balancer itself."""
